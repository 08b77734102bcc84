"""Sequences from a model that tells what token comes next. Nothing here knows a model; each method
is a file of its own, imported here.
"""

from saiki.decoding import beam, sampling
from saiki.decoding.decode import decode
from saiki.decoding.search import METHODS, Hypothesis, Method, Search

__all__ = ["METHODS", "Hypothesis", "Method", "Search", "beam", "decode", "sampling"]

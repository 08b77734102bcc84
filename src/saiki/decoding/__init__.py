"""Sequences from a model that tells what token comes next. Nothing here knows a model."""

from saiki.decoding.decode import decode
from saiki.decoding.search import Hypothesis, Search

__all__ = ["Hypothesis", "Search", "decode"]

"""Vectors of words: a table to ask, and the files in which others keep them."""

from saiki.text.vectors.files import read, write
from saiki.text.vectors.subwords import SubWords
from saiki.text.vectors.table import Vectors

__all__ = ["SubWords", "Vectors", "read", "write"]

"""Data: named datasets, sound files, labelled recordings, tables, texts and images."""

from saiki.data.sound.files import read
from saiki.data.sound.layouts import find

__all__ = ["find", "read"]

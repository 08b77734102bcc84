"""What the tests of pictures share, for those of the inside."""

from plots.conftest import drawn, history

__all__ = ["drawn", "history"]

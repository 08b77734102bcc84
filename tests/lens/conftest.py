"""What the tests of pictures share, for those of the inside."""

from plots.conftest import figures, history

__all__ = ["figures", "history"]

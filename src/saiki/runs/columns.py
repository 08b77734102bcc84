"""Columns of words below each other."""

from collections.abc import Iterator, Sequence


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Each row as a line in which every column begins where it does in the others."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(c.ljust(width) for c, width in zip(row, widths, strict=True)).rstrip()

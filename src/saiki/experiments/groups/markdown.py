"""Tables that people read, as Markdown."""

from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """
    >>> print(table(["said", "answered"], [["a|b", "c"]]), end="")
    | said | answered |
    | --- | --- |
    | a\\|b | c |
    """
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in (head, *rows)]
    lines.insert(1, " | ".join("---" for _ in head))
    return "".join(f"| {line} |\n" for line in lines)

"""Files that are left out because they cannot be used, and how people are told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from saiki.knobs import knob

SHOWN = 10


@dataclass(frozen=True)
class Skipped:
    """A file that cannot be used, and the reason: "is silent"."""

    name: str
    reason: str


def in_words(skipped: Sequence[Skipped]) -> list[str]:
    """What was passed over and why, the first ten by name."""
    if not skipped:
        return []
    lines = [f"{len(skipped):,} file{'s are' if len(skipped) > 1 else ' is'} left out"]
    lines += [f"  {each.name} {each.reason}" for each in skipped[:SHOWN]]
    more = len(skipped) - SHOWN
    return [*lines, f"  and {more:,} more"] if more > 0 else lines


def strict() -> Any:
    """The knob that has one such file stop everything."""
    return knob(False, "whether a file that cannot be read stops the run; false: it is left out")

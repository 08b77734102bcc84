"""Files that are left out because they cannot be used, and how people are told."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from saiki.errors import InputError
from saiki.knobs import Knobs, knob

Content = TypeVar("Content")

SHOWN = 10


@dataclass(frozen=True)
class Skipped:
    """A file that cannot be used, and the reason: "is silent"."""

    name: str
    reason: str


class LeftOut:
    """Files of a folder that cannot be used.

    Args:
        strict: whether the first of them is an error, rather than noted here.
    """

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict
        self.files: list[Skipped] = []

    def read(
        self, files: Sequence[Path], read: Callable[[Path], Content]
    ) -> Iterator[tuple[Path, Content]]:
        """Each file that can be used, and what ``read`` makes of it.

        Raises:
            InputError: one cannot be used and is the only one, or none can; or ``strict``.
        """
        for file in files:
            try:
                content = read(file)
            except InputError as error:
                if self.strict or len(files) == 1:
                    raise
                reason = str(error).removeprefix(str(file)).strip()
                self.files.append(Skipped(file.name, reason))
                if len(self.files) == len(files):
                    raise InputError(f"none of {len(files)} files can be used: {error}") from None
            else:
                yield file, content


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


class Unusable(Knobs):
    """What becomes of files of a folder that cannot be used."""

    strict: bool = strict()

    @cached_property
    def left_out(self) -> LeftOut:
        """Those that were met."""
        return LeftOut(self.strict)

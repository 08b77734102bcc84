"""Files that are left out because they cannot be used, and how people are told."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from saiki.data.folders import LabelledFile, shown
from saiki.errors import InputError
from saiki.knobs import Knobs, knob

File = TypeVar("File", bound=Path | LabelledFile)
Content = TypeVar("Content")
SHOWN = 10


@dataclass(frozen=True)
class Skipped:
    """A file that cannot be used, and the reason: "is silent"."""

    name: str
    reason: str


class LeftOut:
    """Files that cannot be used.

    Args:
        strict: whether the first of them is an error, rather than noted here.
    """

    def __init__(self, strict: bool = True) -> None:
        self.strict = strict
        self.files: list[Skipped] = []

    def read(
        self, files: Iterable[File], read: Callable[[Path], Content]
    ) -> Iterator[tuple[File, Content]]:
        """Each file that can be used, and what ``read`` makes of it.

        Raises:
            InputError: one cannot be used and is the only one, or none can; or ``strict``.
        """
        errors, any_used = list[InputError](), False
        for file in files:
            path = file if isinstance(file, Path) else file.path
            try:
                content = read(path)
            except InputError as error:
                if self.strict:
                    raise
                errors.append(error)
                reason = shown(str(error)).removeprefix(shown(path)).strip()
                self.files.append(Skipped(file.name, reason))
            else:
                any_used = True
                yield file, content
        if errors and not any_used:
            raise (
                InputError(f"none of {len(errors)} files can be used: {errors[0]}")
                if errors[1:]
                else errors[0]
            )


def in_words(skipped: Sequence[Skipped]) -> list[str]:
    """What was passed over and why, the first ten by name."""
    if not skipped:
        return []
    lines = [f"{len(skipped):,} file{'s are' if len(skipped) > 1 else ' is'} left out"]
    lines += [f"  {each.name} {each.reason}" for each in skipped[:SHOWN]]
    more = len(skipped) - SHOWN
    return [*lines, f"  and {more:,} more"] if more > 0 else lines


class Unusable(Knobs):
    """What becomes of files of a folder that cannot be used."""

    strict: bool = knob(
        False, "whether a file that cannot be read stops the run; false: it is left out"
    )

    @cached_property
    def left_out(self) -> LeftOut:
        """Those that were met."""
        return LeftOut(self.strict)

"""Labelled recordings in memory: what could be read, and what was passed over and why."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saiki.data.folders import by_value
from saiki.data.skipped import LeftOut, Skipped
from saiki.data.sound.files import Wave, check_rate, read
from saiki.data.sound.layouts import Recording, find
from saiki.errors import InputError


@dataclass(frozen=True)
class Recordings:
    """Recordings and their waves in the same order, all at one rate."""

    rate: int
    """Samples per second."""
    entries: tuple[Recording, ...]
    waves: tuple[Wave, ...]
    """float32 of shape (samples,), each as long as it is."""
    skipped: tuple[Skipped, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels in order; numbers by their value, before words."""
        return tuple(sorted({each.label for each in self.entries}, key=by_value))

    @property
    def speakers(self) -> tuple[str, ...]:
        """Who is known to speak, in alphabetical order."""
        return tuple(sorted({each.speaker for each in self.entries if each.speaker}))

    def __len__(self) -> int:
        return len(self.entries)

    def in_words(self) -> str:
        """How many there are, of what."""
        speakers = f" by {len(self.speakers)} speakers" if self.speakers else ""
        return f"{len(self):,} recordings of {len(self.classes)} classes{speakers}"


def load(source: str | Path, rate: int, strict: bool = False, encoding: str = "") -> Recordings:
    """Read the recordings that :func:`saiki.data.find` finds, at ``rate`` Hz.

    A file that is missing, broken, empty or silent is skipped, and ``skipped`` tells the reason.

    Args:
        strict: whether such a file is refused instead.
        encoding: of a table that is text; found without.

    Raises:
        InputError: there are no recordings or none that can be used, only one class, or a class
            with fewer than two usable recordings.
    """
    check_rate(rate)
    listed, left_out = find(source, encoding), LeftOut(strict)
    usable = [*left_out.read(listed, lambda path: read(path, rate))]
    entries, waves = zip(*usable, strict=True)
    skipped = tuple(left_out.files)
    _check_classes(source, listed, entries, skipped)
    return Recordings(rate, entries, waves, skipped)


def _check_classes(
    source: str | Path,
    listed: Sequence[Recording],
    usable: Sequence[Recording],
    skipped: Sequence[Skipped],
) -> None:
    all_of, usable_of = (Counter(each.label for each in entries) for entries in (listed, usable))
    if len(all_of) == 1:
        raise InputError(
            f"all {len(listed)} recordings of {source} are of one class, {listed[0].label!r}; "
            "at least two classes are needed to tell apart"
        )
    for label in sorted(all_of, key=by_value):
        if (count := usable_of[label]) < 2:
            lost = {each.name for each in listed if each.label == label}
            why = next((f" ({s.name} {s.reason})" for s in skipped if s.name in lost), "")
            raise InputError(
                f"the class {label!r} of {source} has {count or 'no'} usable "
                f"recording{'' if count else 's'}{why}; give it two at least, better ten, or take "
                "it out"
            )

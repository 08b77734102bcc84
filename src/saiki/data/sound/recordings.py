"""Labelled recordings in memory: what could be read, and what was passed over and why."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from saiki.data.skipped import Skipped
from saiki.data.sound.files import SoundError, Wave, check_rate, read
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
        return tuple(sorted({each.label for each in self.entries}, key=_in_order))

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
    found = find(source, encoding)
    entries, waves, skipped = [], [], []
    for entry in found:
        try:
            wave = read(entry.path, rate)
        except SoundError as error:
            if strict:
                raise
            skipped.append(Skipped(entry.name, error.reason))
        else:
            entries.append(entry)
            waves.append(wave)
    _check_classes(source, found, entries, skipped)
    return Recordings(rate, tuple(entries), tuple(waves), tuple(skipped))


def _check_classes(
    source: str | Path,
    found: tuple[Recording, ...],
    usable: list[Recording],
    skipped: list[Skipped],
) -> None:
    if not usable:
        first = skipped[0]
        raise InputError(
            f"none of the {len(found)} recordings of {source} can be used; "
            f"{first.name}, for one, {first.reason}"
        )
    listed, left = (Counter(each.label for each in entries) for entries in (found, usable))
    if len(listed) == 1:
        raise InputError(
            f"all {len(found)} recordings of {source} are of one class, {found[0].label!r}; "
            "at least two classes are needed to tell apart"
        )
    for label in sorted(listed, key=_in_order):
        if left[label] < 2:
            lost = {each.name for each in found if each.label == label}
            why = next((f" ({s.name} {s.reason})" for s in skipped if s.name in lost), "")
            raise InputError(
                f"the class {label!r} of {source} has {left[label] or 'no'} usable "
                f"recording{'' if left[label] else 's'}{why}; give it two at least, better ten, "
                "or take it out"
            )


def _in_order(label: str) -> tuple[int, int, str]:
    number = re.fullmatch(r"-?\d{1,18}", label)
    return (0, int(label), label) if number else (1, 0, label)

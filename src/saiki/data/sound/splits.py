"""Which recordings are learned from, which decide when to stop, and which are tested."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy

from saiki.data.sound.layouts import Recording, Recordings
from saiki.errors import InputError

SPLITS = ("random", "official", "speakers")
OFFICIAL_TAKES = 5
"""Takes 0 to 4 of each class and speaker are tested (Free Spoken Digit Dataset, README)."""

_TEST = _VALIDATION = 0.15  # of a random split
_HELD_BACK = 0.1  # for validation, of what the other splits leave

Groups = dict[str, list[int]]


@dataclass(frozen=True)
class Split:
    """Indices into the recordings; each is in exactly one part."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def by_default(recordings: Recordings) -> str:
    """The split that goes with the recordings: official where there are takes on both of its sides
    of each class, otherwise random."""
    sides = {label: set[bool]() for label in recordings.classes}
    for entry in recordings.entries:
        if entry.take is None:
            return "random"
        sides[entry.label].add(entry.take < OFFICIAL_TAKES)
    return "official" if all(len(of_label) == 2 for of_label in sides.values()) else "random"


def spread(labels: Sequence[str], count: int) -> list[int]:
    """Places of up to ``count`` labels, as different as can be."""
    places: Groups = {}
    for place, label in enumerate(labels):
        places.setdefault(label, []).append(place)
    rounds = itertools.zip_longest(*places.values())
    return [place for row in rounds for place in row if place is not None][:count]


def split(recordings: Recordings, how: str, seed: int, test_speakers: Sequence[str] = ()) -> Split:
    """Divide ``recordings`` in three, each class by itself; the same seed gives the same parts.

    - ``random``: 70 %, 15 % and 15 % of each class. A class of three or more has at least one in
      each part, a class of two one to learn from and one to test.
    - ``official``: takes 0 to 4 are tested. Of the rest of each class, every speaker in proportion,
      10 % and at least one validate.
    - ``speakers``: what ``test_speakers`` say is tested, so every test is of an unknown voice. Of
      the rest 10 % validate, as above. ``test_speakers`` is read by this split only.

    Raises:
        InputError: ``how`` is unknown, takes or speakers that the split asks for are not known, or
            a part or a class is left without recordings.
    """
    if how not in SPLITS:
        raise InputError(f"a split must be one of {', '.join(SPLITS)}, got {how!r}")
    draw = numpy.random.default_rng(seed)
    entries = recordings.entries
    if how == "random":
        parts = _random(entries, draw)
    elif how == "official":
        parts = _around(entries, _official(entries), draw)
    else:
        parts = _around(entries, _of_speakers(recordings, test_speakers), draw)
    _check(recordings, parts)
    return parts


def _random(entries: Sequence[Recording], draw: numpy.random.Generator) -> Split:
    train, validation, test = [], [], []
    for members in _by_label(entries, range(len(entries))).values():
        shuffled = draw.permutation(members).tolist()
        tested = max(1, _rounded(_TEST * len(members)))
        validated = max(1, _rounded(_VALIDATION * len(members))) if len(members) > 2 else 0
        test += shuffled[:tested]
        validation += shuffled[tested : tested + validated]
        train += shuffled[tested + validated :]
    return _split(train, validation, test)


def _official(entries: Sequence[Recording]) -> set[int]:
    tested = set()
    for index, entry in enumerate(entries):
        if entry.take is None:
            raise InputError(
                f"the official split tests takes 0 to {OFFICIAL_TAKES - 1}, and the number of the "
                f"take of {entry.name} is not known; use the split random or speakers"
            )
        if entry.take < OFFICIAL_TAKES:
            tested.add(index)
    return tested


def _of_speakers(recordings: Recordings, test_speakers: Sequence[str]) -> set[int]:
    known = recordings.speakers
    if not known:
        raise InputError(
            "the split speakers needs to know who speaks, and these recordings do not tell"
        )
    names = ", ".join(known)
    if not test_speakers:
        raise InputError(f"the split speakers needs the speakers to test; there are {names}")
    for speaker in test_speakers:
        if speaker not in known:
            raise InputError(f"there is no speaker {speaker!r}; there are {names}")
    if set(known) <= set(test_speakers):
        raise InputError(f"all speakers ({names}) are tested, which leaves none to learn from")
    for entry in recordings.entries:
        if entry.speaker is None:
            raise InputError(
                f"the split speakers needs to know who speaks, and {entry.name} does not tell"
            )
    return {i for i, entry in enumerate(recordings.entries) if entry.speaker in test_speakers}


def _around(entries: Sequence[Recording], tested: set[int], draw: numpy.random.Generator) -> Split:
    """The rest of each class divided, so that validation hears every speaker in proportion."""
    train, validation = list[int](), list[int]()
    rest = [index for index in range(len(entries)) if index not in tested]
    for members in _by_label(entries, rest).values():
        mixed = sorted(draw.permutation(members).tolist(), key=lambda i: entries[i].speaker or "")
        count = max(1, _rounded(_HELD_BACK * len(members))) if len(members) > 1 else 0
        # every tenth or so of the shuffled speakers one after another
        chosen = {mixed[int((n + 0.5) * len(mixed) / count)] for n in range(count)}
        validation += chosen
        train += [index for index in members if index not in chosen]
    return _split(train, validation, tested)


def _by_label(entries: Sequence[Recording], indices: Iterable[int]) -> Groups:
    groups: Groups = defaultdict(list)
    for index in indices:
        groups[entries[index].label].append(index)
    return dict(sorted(groups.items()))


def _rounded(number: float) -> int:
    return int(number + 0.5)


def _split(train: Iterable[int], validation: Iterable[int], test: Iterable[int]) -> Split:
    return Split(tuple(sorted(train)), tuple(sorted(validation)), tuple(sorted(test)))


def _check(recordings: Recordings, parts: Split) -> None:
    for name, part in (("validate on", parts.validation), ("test", parts.test)):
        if not part:
            raise InputError(
                f"this split of {len(recordings)} recordings leaves none to {name}; "
                "give each class more recordings, or choose another split"
            )
    learned = {recordings.entries[index].label for index in parts.train}
    for label in recordings.classes:
        if label not in learned:
            raise InputError(f"this split leaves no recording of the class {label!r} to learn from")

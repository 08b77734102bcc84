"""Labelled recordings: where they are, as file names, folders of classes or a table say, and what
of them can be read."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from saiki.data.folders import LabelledFile, by_value, tidied, tidy
from saiki.data.skipped import LeftOut, Skipped
from saiki.data.sound.files import Wave, check_rate, read, record_file
from saiki.data.sound.formats import READERS
from saiki.data.tables.roles import known_columns
from saiki.data.tables.texts import TABLES, read_texts
from saiki.errors import InputError
from saiki.input_kind import InputKind
from saiki.inputs import bare, files_below

SOUNDS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aiff", ".aif", ".au", ".w64", ".caf"),
    *READERS,
)
"""What a sound file's name ends with, in small or capital letters."""

_NAMED = re.compile(r"(?P<label>.+)_(?P<speaker>[^_]+)_(?P<take>\d+)")
_SPEECH_COMMANDS = re.compile(r"(?P<speaker>[^_]+)_nohash_\d+")
_NOT_A_CLASS = "_background_noise_"  # long noises that come with Speech Commands
_COLUMNS = {
    "path": ("path", "file", "filename"),
    "label": ("label", "class", "category"),
    "speaker": ("speaker",),
}


@dataclass(frozen=True)
class Recording(LabelledFile):
    """One sound file, what is heard in it, and who says it for which time, where that is known."""

    speaker: str | None = None
    take: int | None = None


def find(source: str | Path, encoding: str = "") -> tuple[Recording, ...]:
    """The recordings below ``source``, in the order of their names, the same on every machine.

    ``source`` is one of

    - a folder, or one with a subfolder ``recordings``, of files named ``LABEL_SPEAKER_TAKE.wav``,
      as in the Free Spoken Digit Dataset;
    - a folder with a subfolder for each class, which holds its sound files, nested as you like;
      names of Speech Commands, ``SPEAKER_nohash_N.wav``, tell the speaker;
    - a table, see :func:`saiki.data.tables.texts.read_texts`, with the columns ``path`` and
      ``label``, and ``speaker`` if it is known; paths start from the table's folder.

    ``encoding`` is that of a table that is text; found without.

    Hidden files and files that are no sound by their name are passed over. Nothing is opened.

    Raises:
        InputError: there is nothing of the kind, or a class is spelled in two ways.
    """
    source = Path(source)
    if source.is_dir():
        recordings = _in_folder(source)
    elif not source.exists():
        raise InputError(f"{source} does not exist")
    elif bare(source).suffix.lower() in TABLES:
        recordings = _in_table(source, encoding)
    else:
        raise InputError(
            f"{source} is neither a folder of recordings nor a table of them "
            f"({' or '.join(TABLES)})"
        )
    return tidied(source, recordings)


def _in_folder(source: Path) -> list[Recording]:
    files = [path.relative_to(source).as_posix() for path in sounds_in(source)]
    top = [name for name in files if "/" not in name]
    if not top and (named := _named(source, [n for n in files if n.startswith("recordings/")], 1)):
        return named
    if len(top) == len(files) and (named := _named(source, files, 0)):
        return named
    if top:
        if len(top) < len(files):
            raise InputError(
                f"{source} holds sound files both in its folders and beside them, such as "
                f"{top[0]}; put each into the folder of its class"
            )
        odd = next(name for name in top if not _NAMED.fullmatch(Path(name).stem))
        raise InputError(
            f"{source} does not tell the class of {odd}; put the sound files of each class into "
            "a folder of their own, or name all of them LABEL_SPEAKER_NUMBER"
        )
    return [_of_class(source, name) for name in files if not name.startswith(_NOT_A_CLASS + "/")]


def sounds_in(folder: Path) -> list[Path]:
    """The sound files in a folder and below it, in the order of their names."""
    return files_below(folder, SOUNDS, "sound")


SOUND = InputKind("sound", in_folder=sounds_in, record=record_file)


def _named(source: Path, names: list[str], depth: int) -> list[Recording]:
    """The recordings, if all their names tell label, speaker and take; otherwise none."""
    recordings = []
    for name in names:
        match = _NAMED.fullmatch(Path(name).stem)
        if not match or name.count("/") != depth:
            return []
        label, speaker, number = match.groups()
        recordings.append(Recording(source / name, name, label, tidy(speaker), int(number)))
    return recordings


def _of_class(source: Path, name: str) -> Recording:
    match = _SPEECH_COMMANDS.fullmatch(Path(name).stem)
    speaker = match["speaker"] if match else None
    return Recording(source / name, name, name.split("/")[0], speaker)


def _in_table(source: Path, encoding: str) -> list[Recording]:
    table = read_texts(source, encoding, [*_COLUMNS["path"], *_COLUMNS["label"]])
    columns = known_columns(table.rows[0], _COLUMNS)
    headed = table.has_header or {"path", "label"} <= {*columns}
    if not {"path", "label"} <= {*columns}:
        columns = _unnamed(source, table.rows[0])
    if len(table.rows) == headed:
        raise InputError(f"{source} names no recordings below its header")
    recordings, seen = [], dict[Path, int]()
    for number, row in enumerate(table.rows[headed:], headed):
        for column in ("path", "label"):
            if not row[columns[column]]:
                raise InputError(f"{source} has no {column} in {table.place(number)}")
        name, label = row[columns["path"]], row[columns["label"]]
        speaker = tidy(row[columns["speaker"]]) if "speaker" in columns else ""
        path = Path(os.path.normpath(source.parent / name))
        if path in seen:
            places = f"{table.word}s {table.lines[seen[path]]} and {table.lines[number]}"
            raise InputError(f"{source} lists {name} twice, in {places}")
        seen[path] = number
        recordings.append(Recording(path, name, label, speaker or None))
    return recordings


def _unnamed(source: Path, first: Sequence[str]) -> dict[str, int]:
    """Which column holds what, where the first row names a sound file and not the columns."""
    if Path(first[0]).suffix.lower() not in SOUNDS:
        raise InputError(
            f"{source} begins with {first[0]!r}, which is no sound file; name its columns in the "
            "first line: path, label and, if known, speaker"
        )
    return {"path": 0, "label": 1} | ({"speaker": 2} if len(first) == 3 else {})


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

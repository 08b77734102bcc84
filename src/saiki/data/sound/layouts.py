"""Where labelled recordings are: file names that say it, a folder for each class, or a table."""

import csv
import io
import os
import re
from dataclasses import dataclass
from pathlib import Path

from saiki.data.folders import check_spelling, shown, tidy
from saiki.data.sound.formats import READERS
from saiki.errors import InputError
from saiki.inputs import files_below, read_text

SOUNDS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aiff", ".aif", ".au", ".w64", ".caf"),
    *READERS,
)
"""What a sound file's name ends with, in small or capital letters."""
TABLES = (".csv", ".tsv")

_NAMED = re.compile(r"(?P<label>.+)_(?P<speaker>[^_]+)_(?P<take>\d+)")
_SPEECH_COMMANDS = re.compile(r"(?P<speaker>[^_]+)_nohash_\d+")
_NOT_A_CLASS = "_background_noise_"  # long noises that come with Speech Commands
_DELIMITERS = "\t;,"
_COLUMNS = {
    "path": ("path", "file", "filename"),
    "label": ("label", "class", "category"),
    "speaker": ("speaker",),
}


@dataclass(frozen=True)
class Recording:
    """One sound file, what is heard in it, and who says it for which time, where that is known."""

    path: Path
    name: str
    """The path as shown to people: below the source, with ``/`` between folders."""
    label: str
    speaker: str | None = None
    take: int | None = None


def find(source: str | Path) -> tuple[Recording, ...]:
    """The recordings below ``source``, in the order of their names, the same on every machine.

    ``source`` is one of

    - a folder, or one with a subfolder ``recordings``, of files named ``LABEL_SPEAKER_TAKE.wav``,
      as in the Free Spoken Digit Dataset;
    - a folder with a subfolder for each class, which holds its sound files, nested as you like;
      names of Speech Commands, ``SPEAKER_nohash_N.wav``, tell the speaker;
    - a table, ``.csv`` or ``.tsv``, with the columns ``path`` and ``label``, and ``speaker`` if it
      is known; paths start from the table's folder.

    Hidden files and files that are no sound by their name are passed over. Nothing is opened.

    Raises:
        InputError: there is nothing of the kind, or a class is spelled in two ways.
    """
    source = Path(source)
    if source.is_dir():
        found = _in_folder(source)
    elif not source.exists():
        raise InputError(f"{source} does not exist")
    elif source.suffix.lower() in TABLES:
        found = _in_table(source)
    else:
        raise InputError(
            f"{source} is neither a folder of recordings nor a table of them "
            f"({' or '.join(TABLES)})"
        )
    check_spelling(source, (each.label for each in found))
    plain = (
        Recording(each.path, shown(each.name), tidy(each.label), each.speaker, each.take)
        for each in found
    )
    return tuple(sorted(plain, key=lambda each: (tidy(each.name), each.name)))


def _in_folder(source: Path) -> list[Recording]:
    files = [path.relative_to(source).as_posix() for path in files_below(source, SOUNDS)]
    if not files:
        raise InputError(f"{source} holds no sound files ({', '.join(SOUNDS)})")
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
    """The sound files in a folder and below it, in the order of their names.

    Raises:
        InputError: there are none, or it cannot be read.
    """
    found = files_below(folder, SOUNDS)
    if not found:
        raise InputError(f"{folder} holds no sound: no file in it is named *{' or *'.join(SOUNDS)}")
    return found


def _named(source: Path, names: list[str], depth: int) -> list[Recording]:
    """The recordings, if all their names tell label, speaker and take; otherwise none."""
    found = []
    for name in names:
        match = _NAMED.fullmatch(Path(name).stem)
        if not match or name.count("/") != depth:
            return []
        label, speaker, take = match.groups()
        found.append(Recording(source / name, name, label, tidy(speaker), int(take)))
    return found


def _of_class(source: Path, name: str) -> Recording:
    match = _SPEECH_COMMANDS.fullmatch(Path(name).stem)
    speaker = match["speaker"] if match else None
    return Recording(source / name, name, name.split("/")[0], speaker)


def _in_table(source: Path) -> list[Recording]:
    try:
        lines = _rows(read_text(source))
    except csv.Error:  # a cell that is longer than any path
        raise InputError(
            f"{source} is not a table: a quotation mark that begins a cell is never closed"
        ) from None
    if not lines:
        raise InputError(f"{source} is empty; it needs the columns path and label")
    columns = _columns(source, lines[0][1])
    if columns.pop("header"):
        lines = lines[1:]
    if not lines:
        raise InputError(f"{source} names no recordings below its header")
    found, seen = [], dict[Path, int]()
    for number, row in lines:
        name = _cell(source, number, row, columns["path"], "path").strip()
        label = _cell(source, number, row, columns["label"], "label")
        at = columns.get("speaker")
        speaker = tidy(row[at]) if at is not None and at < len(row) else ""
        path = Path(os.path.normpath(source.parent / name))
        if path in seen:
            raise InputError(f"{source} lists {name} twice, in lines {seen[path]} and {number}")
        seen[path] = number
        found.append(Recording(path, name, label, speaker or None))
    return found


def _rows(text: str) -> list[tuple[int, list[str]]]:
    """Line numbers and cells, by the delimiter that makes the most rows like the first one."""
    best: list[tuple[int, list[str]]] = []
    score = -1
    for delimiter in _DELIMITERS:
        reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
        alike = sum(len(row) == len(rows[0][1]) >= 2 for _, row in rows)
        if alike > score:
            best, score = rows, alike
    return best


def _columns(source: Path, first: list[str]) -> dict[str, int]:
    """Which column holds what, and under ``header`` whether the first row names the columns."""
    names = [cell.strip().lower() for cell in first]
    found = {
        column: names.index(name)
        for column, known in _COLUMNS.items()
        for name in reversed(known)
        if name in names
    }
    if "path" in found and "label" in found:
        return {"header": 1, **found}
    if Path(first[0].strip()).suffix.lower() not in SOUNDS:
        raise InputError(
            f"{source} begins with {first[0].strip()!r}, which is no sound file; name its columns "
            "in the first line: path, label and, if known, speaker"
        )
    return {"header": 0, "path": 0, "label": 1} | ({"speaker": 2} if len(first) == 3 else {})


def _cell(source: Path, number: int, row: list[str], at: int, column: str) -> str:
    if at >= len(row) or not row[at].strip():
        raise InputError(f"{source} has no {column} in line {number}")
    return row[at]

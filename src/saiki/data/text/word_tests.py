"""Tests of word vectors: analogies, and pairs of words with a similarity that people gave them."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from saiki.data.tables.roles import Columns, folded
from saiki.data.tables.texts import read_texts
from saiki.data.text.plain_text import lines
from saiki.errors import InputError
from saiki.inputs import bare, files_below

Question = tuple[str, str, str, str]
QUESTIONS = "questions-words.txt"
_TABLES = (".tsv", ".csv", ".parquet")


@dataclass(frozen=True)
class Analogies:
    """Questions by section: the second word is to the first as the fourth is to the third."""

    sections: dict[str, tuple[Question, ...]]

    def __len__(self) -> int:
        return sum(map(len, self.sections.values()))


class Pair(NamedTuple):
    """Two words, and how similar they are."""

    a: str
    b: str
    score: float


@dataclass(frozen=True)
class Pairs:
    """Pairs of words of one test.

    Args:
        name: of the test, which is that of its file.
    """

    name: str
    rows: tuple[Pair, ...]

    def __len__(self) -> int:
        return len(self.rows)


def read_analogies(path: Path) -> Analogies:
    """The questions of a file such as questions-words.txt (Mikolov et al., Efficient Estimation of
    Word Representations in Vector Space, 2013, section 4.1): a line ``: NAME`` begins a section,
    any other line is four words. Empty lines and those that begin with ``//`` are left out.

    Args:
        path: the file, or a folder in which or below which there is a questions-words.txt.

    Raises:
        InputError: there is no such file, a line is something else, or there are no questions.
    """
    file = next(iter(_questions(path)), None) if path.is_dir() else path
    if file is None:
        raise InputError(f"{path} holds no {QUESTIONS}")
    sections = dict[str, list[Question]]()
    section = None
    for number, line in enumerate(lines(file), 1):
        words = line.split()
        if not words or words[0].startswith("//"):
            continue
        if words[0].startswith(":"):
            section = sections.setdefault(line.strip(": \t"), [])
            continue
        if section is None:
            raise InputError(
                f"{file} has no section before line {number}; a line ': NAME' must begin one"
            )
        if len(words) != 4:
            raise InputError(
                f"{file} has {len(words)} words in line {number}; a question is four words, such "
                "as 'man king woman queen'"
            )
        section.append((words[0], words[1], words[2], words[3]))
    if not any(sections.values()):
        raise InputError(f"{file} holds no questions")
    return Analogies({name: tuple(questions) for name, questions in sections.items()})


def read_pairs(path: Path, column: str = "") -> Pairs:
    """The pairs of a table: two words, and a score in the third column, or in the one that the
    first row calls ``column``.

    See :func:`saiki.data.tables.texts.read_texts`; where there is no other delimiter, columns stand
    between blanks. The first row may name the columns, and lines that begin with ``#`` may stand
    before it. WordSim-353, SimLex-999 (``column``
    ``"SimLex999"``) and the Japanese sets of Sakaizawa & Komachi (2018) are such tables; of the
    last the third column is the mean without the annotators who gave extreme scores, which their
    paper takes.

    Raises:
        InputError: there is no such file or column, a line has too few columns or a score that is
            no finite number, or there are no pairs.
    """
    table = read_texts(path, names=[folded(column)] if column else (), comments="#", blanks=True)
    rows, first, place = table.texts, table.texts[0], 2
    headed = table.has_header or bool(column) or not _is_number("".join(first[2:3]))
    if column:
        place = Columns(path, (first,), len(first), tuple(rows)).of(column)
    pairs = list[Pair]()
    for number, cells in enumerate(rows):
        if number < headed:
            continue
        if len(cells) <= place or not cells[0] or not cells[1]:
            raise InputError(
                f"{path} has no two words and a score in {table.place(number)}; a row is two words "
                "and their score"
            )
        if not _is_number(cells[place]):
            names = first[2:] if headed else ()
            raise InputError(
                f"{path} has {cells[place][:40]!r} in {table.place(number)}, where a score must "
                f"stand{'; name the column of scores: ' + ', '.join(names) if names[1:] else ''}"
            )
        pairs.append(Pair(cells[0], cells[1], float(cells[place])))
    if not pairs:
        raise InputError(f"{path} holds no pairs of words")
    return Pairs(bare(path).stem, tuple(pairs))


def read_tests(folder: Path) -> tuple[Analogies, list[Pairs]]:
    """The analogies and all pairs of a folder or below it, which need not hold both. Tables of
    pairs are files that end in ``.tsv``, ``.csv`` or ``.parquet``."""
    analogies = read_analogies(folder) if _questions(folder) else Analogies({})
    return analogies, [read_pairs(file) for file in files_below(folder, _TABLES)]


def _questions(folder: Path) -> list[Path]:
    return [file for file in files_below(folder, [QUESTIONS]) if file.name == QUESTIONS]


def _is_number(field: str) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False

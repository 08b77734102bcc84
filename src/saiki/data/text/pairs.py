"""Pairs of texts, such as a sentence and its translation."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy
from babel import Locale, UnknownLocaleError

from saiki.data import store
from saiki.data.tables.texts import TABLES, read_texts
from saiki.data.text.plain_text import lines
from saiki.errors import InputError
from saiki.inputs import PACKED, bare

SHARE, MOST = 0.05, 1000
"""Of the different sources, those set apart to develop, and as many to test; and their number."""
DEVELOPMENT = ("dev", "development", "valid", "validation", "val")
_EAST = ("CJK", "HIRAGANA", "KATAKANA", "IDEOGRAPHIC")

NAMES = (
    ("source", "target"), ("src", "trg"), ("src", "tgt"), ("input", "output"),
    ("original", "translation"), ("sentence", "translation"), ("text", "translation"),
    ("question", "answer"), ("word", "translation"), ("原文", "訳文"), ("入力", "出力"),
)  # fmt: skip
"""What columns are called, that of the source first."""
SPOKEN = ("en", "ja", "de", "fr", "es", "it", "pt", "ru", "zh", "ko")
"""Languages in which a header may name languages, beside those of the table."""
FEWEST = 5
"""Rows that show what a column is made of."""


@dataclass(frozen=True)
class Pairs:
    """Texts and, at the same places, those that go with them."""

    source: list[str]
    target: list[str]
    left_out: int = 0
    """Pairs that were read and are not here, as a side of them is empty."""
    notes: tuple[str, ...] = ()
    """What a person should know of how they were read."""

    def __len__(self) -> int:
        return len(self.source)

    def select(self, indices: Sequence[int]) -> "Pairs":
        return Pairs([self.source[i] for i in indices], [self.target[i] for i in indices])


@dataclass(frozen=True)
class Corpus:
    """What is learned from, what decides when to stop, and what is tested, which may be nothing."""

    train: Pairs
    development: Pairs
    test: Pairs
    notes: str = ""
    """What a person should know of how they came about; nothing if there is nothing to say."""

    def __iter__(self) -> Iterator[Pairs]:
        return iter((self.train, self.development, self.test))

    def in_words(self) -> str:
        """How many pairs there are of each part."""
        tested = f", {len(self.test):,} to test" if len(self.test) else ""
        return (
            f"{len(self.train):,} pairs to learn from, {len(self.development):,} to develop{tested}"
        )

    def within(
        self, longest: int, source: Callable[[str], Sized], target: Callable[[str], Sized]
    ) -> "Corpus":
        """Learning from those pairs only of which no side has more than ``longest`` tokens.

        Args:
            source: the tokens of a source, such as the ``split`` of a :class:`saiki.text.Text`.
            target: those of a target.
        """
        train = self.train
        short = [
            i
            for i, (x, y) in enumerate(zip(train.source, train.target, strict=True))
            if len(source(x)) <= longest and len(target(y)) <= longest
        ]
        if not short:
            raise InputError(f"all pairs to learn from have more than {longest} tokens")
        if len(short) == len(train):
            return self
        note = f"{_count(len(train) - len(short))} of more than {longest} tokens left out"
        return replace(self, train=train.select(short), notes=_joined(self.notes, note))


def read_pairs(path: Path, source: str = "src", target: str = "trg", encoding: str = "") -> Pairs:
    """The pairs of a table of two columns or of two parallel files, but those with an empty side.

    - A table, see :func:`saiki.data.tables.texts.read_texts`, holds the source and then the
      target. Its first row may be a header, which may say that the target comes first; see
      :func:`header`.
    - Of parallel files, NAME.SOURCE and NAME.TARGET, line n of one goes with line n of the other.
      ``path`` is one of them, or the folder that holds them, or it ends with NAME.

    All files may be packed: ``.gz``, ``.xz`` or ``.bz2``.

    Args:
        source: how the name of the file of sources ends, such as ``en``.
        target: how that of targets ends.
        encoding: of a table that is text; found without.

    Raises:
        InputError: there is no such file, one of two is missing, they have different numbers of
            lines, no pair is in them, or the table has a row of other than two columns.
    """
    if path.exists() and not path.is_dir():
        unpacked = bare(path)
        if unpacked.suffix not in (f".{source}", f".{target}"):
            return _table(path, source, target, encoding)
        return _parallel(unpacked.with_suffix(""), source, target)
    if not path.is_dir():
        pairs = _part(path, source, target, encoding)
        if pairs is None:
            raise InputError(f"{path} does not exist")
        return pairs
    ends = [f".{source}{packed}" for packed in ("", *PACKED)]
    names = sorted({f.name[: -len(e)] for e in ends for f in path.glob(f"*{e}") if f.name != e})
    if len(names) != 1:
        others = sorted(f.name for f in path.glob("train.*")) or sorted(
            f.name for f in path.iterdir()
        )
        raise InputError(
            f"{path} must hold the files train.{source} and train.{target}, or a table train.tsv; "
            f"it holds {', '.join(others[:6]) or 'nothing'}"
            f"{', …' if len(others) > 6 else ''}"
        )
    return _parallel(path / names[0], source, target)


def corpus(path: Path | None, source: str, target: str, seed: int, encoding: str = "") -> Corpus:
    """What to learn from, to develop and to test.

    A folder may hold these parts, named ``train``, one in ``DEVELOPMENT``, and ``test``: each two
    parallel files or a table. If there is nothing to develop, a share of the sources is set apart,
    drawn from ``seed``, with all pairs of each, so that none of them is learned from; if there is
    nothing to test either, another share is set apart for that. Parts that come as files are left
    as they are, and the notes say how many sources they share with the training part.

    Args:
        path: see :func:`read_pairs`; small_parallel_enja if None.
        encoding: of tables that are text; found without.
    """
    if path is None or path.exists():
        path = store.locate("small_parallel_enja", path)
    folder = path.is_dir()

    def first_of(*names: str) -> Pairs | None:
        parts = (_part(path / name, source, target, encoding) for name in names if folder)
        return next((pairs for pairs in parts if pairs is not None), None)

    train = first_of("train") or read_pairs(path, source, target, encoding)
    development, test = first_of(*DEVELOPMENT), first_of("test")
    read = [part for part in (train, development, test) if part is not None]
    empty = sum(part.left_out for part in read)
    notes = list(dict.fromkeys(note for part in read for note in part.notes))
    notes += [f"{_count(empty)} with an empty side left out"] if empty else []
    if development is None:
        train, development, other = _set_apart(train, test is None, seed)
        test = other if test is None else test
        purposes = "develop and test" if len(other) else "develop"
        notes.append(f"a share of the sources set apart to {purposes}, and not learned from")
    test = test if test is not None else Pairs([], [])
    learned = set(train.source)
    for part, name in ((development, "develop"), (test, "test")):
        if shared := sum(text in learned for text in part.source):
            notes.append(f"{shared:,} of {len(part):,} sources to {name} are learned from too")
    if repeated := len(train) - len(set(zip(train.source, train.target, strict=True))):
        notes.append(f"{_count(repeated)} to learn from occur again, and are kept")
    return Corpus(train, development, test, _joined(*notes))


def _set_apart(pairs: Pairs, tested: bool, seed: int) -> tuple[Pairs, Pairs, Pairs]:
    """To learn from, to develop and, if asked for and there are enough, to test."""
    sources = list(dict.fromkeys(pairs.source))
    if len(sources) < 2:
        raise InputError(
            f"all pairs have the source {sources[0][:40]!r}; there must be two different ones at "
            "least, one to learn from and one to develop"
        )
    share = min(MOST, round(SHARE * len(sources)))
    ends = numpy.cumsum([max(1, share), share if tested else 0])
    order = numpy.random.default_rng(seed).permutation(len(sources))
    # 0 to develop, 1 to test, 2 to learn from
    part_of = dict(zip(sources, numpy.searchsorted(ends, order, "right").tolist(), strict=True))
    places: tuple[list[int], ...] = ([], [], [])
    for i, text in enumerate(pairs.source):
        places[part_of[text]].append(i)
    development, test, train = map(pairs.select, places)
    return train, development, test


def _part(prefix: Path, source: str, target: str, encoding: str) -> Pairs | None:
    if _file(f"{prefix}.{source}") or _file(f"{prefix}.{target}"):
        return _parallel(prefix, source, target)
    tables = [table for end in TABLES if (table := _file(f"{prefix}{end}"))]
    return _table(tables[0], source, target, encoding) if tables else None


def _file(name: str) -> Path | None:
    """The file of that name, or a packed one."""
    candidates = (Path(f"{name}{packed}") for packed in ("", *PACKED))
    return next((path for path in candidates if path.is_file()), None)


def _parallel(prefix: Path, source: str, target: str) -> Pairs:
    texts = list[list[str]]()
    for end in (source, target):
        file = _file(f"{prefix}.{end}")
        if file is None:
            raise InputError(
                f"{prefix}.{end} does not exist; its lines must go with those of the other language"
            )
        texts.append([line.strip() for line in lines(file)])
    if len(texts[0]) != len(texts[1]):
        raise InputError(
            f"{prefix}.{source} has {len(texts[0]):,} lines and {prefix}.{target} "
            f"{len(texts[1]):,}; line by line one must go with the other"
        )
    return _full(prefix, zip(*texts, strict=True))


def _table(path: Path, source: str, target: str, encoding: str) -> Pairs:
    table = read_texts(path, encoding, width=2)
    rows = [(x, y) for x, y in table.texts]
    is_header, exchanged = header(rows, source, target)
    notes = [*table.notes]
    if is_header or table.has_header:
        (first, second), *rows = rows
        taken = f"the first row of {path.name}, {first!r} and {second!r}, taken for a header"
        notes.append(taken + ", which says that the target comes first" * exchanged)
    if exchanged:
        rows = [(y, x) for x, y in rows]
    return replace(_full(path, rows), notes=tuple(notes))


def _full(path: Path, rows: Iterable[tuple[str, str]]) -> Pairs:
    rows = list(rows)
    full = [(x, y) for x, y in rows if x and y]
    if not full:
        raise InputError(f"{path} holds no pair of texts")
    return Pairs([x for x, _ in full], [y for _, y in full], len(rows) - len(full))


def _count(pairs: int) -> str:
    return "1 pair" if pairs == 1 else f"{pairs:,} pairs"


def _joined(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


def header(rows: Sequence[tuple[str, str]], source: str, target: str) -> tuple[bool, bool]:
    """Whether the first row is a header, and whether it says that the target comes first.

    It is one

    - if it holds the codes of both languages, a row of :data:`NAMES`, or the names of two
      languages, such as ``English,Japanese``; a language beside its own name elsewhere, as
      ``English,英語``, is a pair of words;
    - or if it has letters over a column of ``FEWEST`` numbers at least, such as ``number``, or over
      a column of texts in which such letters never occur; but Latin and Greek ones may stand among
      all others, as many a Japanese text is ``CD`` or ``α``.

    Args:
        source: the code of the language that is read.
        target: that of the one that is written.
    """
    if not rows:
        return False, False
    first = rows[0][0].casefold(), rows[0][1].casefold()
    wanted = source.casefold(), target.casefold()
    for names in (wanted, *NAMES):
        if first in (names, names[::-1]):
            return True, first != names
    spoken = [_languages(name, wanted) for name in first]
    if all(spoken) and not set(spoken[0]) & set(spoken[1]):
        return True, wanted[1] in spoken[0] and wanted[0] in spoken[1]
    return len(rows) > FEWEST and any(_differs(*c) for c in zip(*rows, strict=True)), False


def _differs(first: str, *below: str) -> bool:
    """Whether ``first`` is a word over numbers, or of another script than all below."""
    kinds, others = _kinds([first]), _kinds(below)
    apart = bool(kinds) and bool(others) and not kinds & {"DIGIT", *others}
    return apart and (others == {"DIGIT"} or not kinds & {"LATIN", "GREEK"})


def _languages(name: str, wanted: Sequence[str]) -> frozenset[str]:
    """The codes of the languages that are called so, in their own words or those of others."""
    return frozenset(
        code for spoken in {*SPOKEN, *wanted} for code, called in _names(spoken) if called == name
    )


@cache
def _names(spoken: str) -> frozenset[tuple[str, str]]:
    """The codes of languages, and what they are called in the language of a code."""
    try:
        names = Locale.parse(spoken).languages
    except (UnknownLocaleError, ValueError):
        return frozenset()
    return frozenset((code.partition("_")[0], name.casefold()) for code, name in names.items())


def _kinds(texts: Iterable[str]) -> set[str]:
    """The kinds of letters and digits that occur: DIGIT, LATIN, CYRILLIC and so on; all signs of
    Chinese and Japanese are of one."""
    return set(_kinds_of(unicodedata.normalize("NFKC", "".join(set().union(*texts)))))


def _kinds_of(characters: Iterable[str]) -> Iterator[str]:
    for c in characters:
        if c.isdecimal():
            yield "DIGIT"
        elif c.isalnum():
            kind = unicodedata.name(c, "").partition(" ")[0]
            yield "CJK" if kind.startswith(_EAST) else kind

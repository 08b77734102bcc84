"""Tables of texts, each of which belongs to one of several classes, and batches of them as rows of
numbers."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saiki.data.tables.encoding import Encoding
from saiki.data.tables.roles import Columns, folded, known_columns
from saiki.data.tables.texts import TextTable, read_texts
from saiki.data.text.pairs import DEVELOPMENT
from saiki.errors import InputError, shown
from saiki.knobs import Knobs, knob
from saiki.text import UNKNOWN
from saiki.text.rows import padded

NAMES = {
    "text": ("text", "sentence", "review", "comment", "content", "文", "文章", "本文", "テキスト"),
    "label": ("label", "class", "category", "sentiment", "ラベル", "クラス", "分類", "カテゴリ"),
    "split": ("split", "usage", "part", "subset"),
    "votes": ("votes", "judges"),
}
"""What columns are called."""
TRAIN, TEST = ("train", "training"), ("test", "eval", "evaluation")
PARTS = {*TRAIN, *DEVELOPMENT, *TEST}
HELD, FOLDS = 0.2, 5
"""Share of each class that is set apart where a table has no parts, and folds of what is left."""


Batch = tuple[Tensor, Tensor, Tensor]
"""Numbers of words ``(batch, time)``, how many there are in each row, and targets ``(batch,
classes)``."""


@dataclass(frozen=True)
class Labelled:
    """Texts and, at the same places, their classes and what people voted for, where it is known."""

    texts: list[str]
    labels: list[str]
    votes: list[dict[str, float]]

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, places: Iterable[int]) -> "Labelled":
        places = list(places)
        columns = (self.texts, self.labels, self.votes)
        return Labelled(*([column[i] for i in places] for column in columns))  # type: ignore[arg-type]

    def targets(self, classes: Sequence[str], voted: bool) -> np.ndarray:
        """What is to be said of each, ``(texts, classes)``: 1 for its class and 0 for the others,
        or the share of the votes for each, where they are known and ``voted``."""
        targets = np.zeros((len(self), len(classes)), np.float32)
        for row, label, votes in zip(targets, self.labels, self.votes, strict=True):
            for name, count in (votes if voted and votes else {label: 1.0}).items():
                row[classes.index(name)] = count
        targets /= targets.sum(1, keepdims=True)
        return targets


@dataclass(frozen=True)
class LabelledRows:
    """The numbers of the words of each text, and what is to be said of it."""

    rows: list[list[int]]
    targets: np.ndarray
    """``(texts, classes)``."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if not row:  # a text without a word
                row.append(UNKNOWN)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, places: Sequence[int] | np.ndarray) -> Batch:
        """Some rows, padded to the longest of them."""
        tokens, lengths = padded([self.rows[i] for i in places])
        return tokens, lengths, torch.from_numpy(self.targets[np.asarray(places)])

    def by_length(self, batch_size: int) -> Iterator[tuple[np.ndarray, Batch]]:
        """All rows, the shortest first, with their places."""
        order = np.argsort([len(row) for row in self.rows], kind="stable")
        for at in range(0, len(order), batch_size):
            yield order[at : at + batch_size], self.batch(order[at : at + batch_size])


@dataclass(frozen=True)
class LabelledParts:
    """What is learned from, what the curves are measured by, and what is tested; these two are the
    same where a table has no three parts."""

    classes: tuple[str, ...]
    train: Labelled
    development: Labelled
    test: Labelled
    notes: str

    @property
    def has_test(self) -> bool:
        """Whether what is tested decides nothing while the model learns."""
        return self.test is not self.development

    def in_words(self) -> str:
        """How many texts there are of each part and class."""
        counts = Counter(self.train.labels)
        classes = ", ".join(f"{name} {counts[name]:,}" for name in self.classes)
        parts = f", {len(self.development):,} to develop" if self.has_test else ""
        return (
            f"{len(self.train):,} texts to learn from ({classes}){parts}, {len(self.test):,} to "
            f"test; {self.notes}"
        )


class Table(Knobs):
    """How a table is read, with a header or without; see :mod:`saiki.data.tables.texts`.

    What no knob names is found. The column of labels is called so, or has the fewest different
    values; that of texts is called so, or has the most letters; one that holds nothing but train,
    dev and test says to which part a row belongs; one of JSON, such as {"0": 2, "1": 1}, counts the
    votes for each class.
    """

    text_column: str = knob("", "name of the column of texts, or its number; found without")
    label_column: str = knob("", "name of the column of classes, or its number; found without")
    split_column: str = knob(
        "", "that of the parts, train, dev and test; found without, and if there is none, a fifth "
        "of each class is set apart"
    )  # fmt: skip
    encoded: Encoding = Encoding()
    fold: int = knob(
        0, "of five folds of what is learned from, that which is tested in place of what is set "
        "apart; 0: none", minimum=0, maximum=FOLDS,
    )  # fmt: skip

    def read(self, path: Path, seed: int) -> LabelledParts:
        """The parts of the table.

        Raises:
            InputError: it cannot be read, a column is not there or cannot be found, there are fewer
                than two classes, or too few texts of one.
        """
        knobs = {"text": self.text_column, "label": self.label_column, "split": self.split_column}
        named = {role: name for role, name in knobs.items() if name}
        known = [*NAMES["text"], *NAMES["label"], *map(folded, named.values())]
        table = read_texts(path, self.encoded.encoding, known)
        columns, headed = _columns(table, named)
        rows = table.texts
        body = rows[headed:]
        full = [row for row in body if row[columns["text"]] and row[columns["label"]]]
        if not full:
            raise InputError(f"{path} holds no text with a label")
        examples = _labelled(full, columns)
        counts = Counter(examples.labels)
        hint = "" if headed else "; if the first row is a header, name its columns: --text-column"
        if len(counts) < 2:
            raise InputError(
                f"all texts of {path} have the label {shown(examples.labels[0])}, in column "
                f"{columns['label'] + 1}; it takes two classes at least"
            )
        if rare := [name for name, count in counts.items() if count < 2]:
            raise InputError(
                f"the class {shown(rare[0])} has one text only in {path}; each needs one to learn "
                f"from and one to test at least{hint}"
            )
        notes = [*table.notes, _where(columns, headed, rows[0])]
        if len(full) < len(body):
            notes.append(f"{len(body) - len(full):,} rows without a text or a label left out")
        if "split" in columns:
            odd = sum(row[columns["split"]].casefold() not in PARTS for row in full)
            notes += [f"{odd:,} rows of no part left out"] if odd else []
        train, development, test = self._parts(path, examples, full, columns.get("split"), seed)
        if not len(test):
            raise InputError(
                f"the texts of each class of {path} are all the same; nothing can be set apart"
            )
        learned = set(train.texts)
        if shared := sum(text in learned for text in test.texts):
            notes.append(f"{shared:,} of the texts to test are learned from too")
        classes = _ordered({*train.labels})
        if missing := {*development.labels, *test.labels} - {*classes}:
            raise InputError(
                f"the class {shown(min(missing))} of {path} has no text to learn from; each class "
                "needs one"
            )
        return LabelledParts(classes, train, development, test, "; ".join(notes))

    def _parts(
        self, path: Path, table: Labelled, rows: Sequence[tuple[str, ...]], column: int | None,
        seed: int,
    ) -> tuple[Labelled, Labelled, Labelled]:  # fmt: skip
        if column is None:
            train, test = _stratified(
                table, lambda order: order[: max(1, round(HELD * len(order)))], seed
            )
            development = test
        else:
            parts = [row[column].casefold() for row in rows]
            train, development, test = (
                table.select(i for i, part in enumerate(parts) if part in names)
                for names in (TRAIN, DEVELOPMENT, TEST)
            )
            if not len(train) or not len(development) + len(test):
                raise InputError(
                    f"column {column + 1} of {path} must call some rows {TRAIN[0]}, and others "
                    f"dev or test; it says {', '.join(map(shown, sorted({*parts})[:4]))}"
                )
            development, test = (development if len(development) else test), test
            test = test if len(test) else development
        if self.fold:
            train, test = _stratified(
                train, lambda order: np.array_split(order, FOLDS)[self.fold - 1], 0
            )
            development = test
        return train, development, test


def _labelled(rows: Sequence[tuple[str, ...]], columns: Mapping[str, int]) -> Labelled:
    texts, labels = ([row[columns[name]] for row in rows] for name in ("text", "label"))
    known = {*labels}
    votes = [_votes(row[columns["votes"]]) or {} if "votes" in columns else {} for row in rows]
    valid = [
        {name: n for name, n in row.items() if name in known and 0 < n < math.inf} for row in votes
    ]
    return Labelled(texts, labels, valid)


def _columns(table: TextTable, named: Mapping[str, str]) -> tuple[dict[str, int], bool]:
    """The place of each column that is there, and whether the first row is a header."""
    path, rows, first = table.path, table.texts, table.texts[0]
    columns = Columns(path, (first,), len(first), tuple(rows))
    known = known_columns(first, NAMES)
    named_places = {role: columns.of(name) for role, name in named.items()}
    headed = (
        table.has_header
        or any(folded(name) in map(folded, first) for name in named.values())
        or any(role in known for role in ("text", "label") if role not in named)
    )
    places = known if headed else {}
    if "split" in places and not _has_parts({row[places["split"]].casefold() for row in rows[1:]}):
        del places["split"]  # which is called so for another reason
    places |= named_places
    body, width = rows[headed:], len(first)
    if not body:
        raise InputError(f"{path} holds no rows below its header")
    for role, is_it in (("split", _tells_parts), ("votes", _tells_votes)):
        for i in {*range(width)} - {*places.values()} if role not in places else ():
            if is_it([row[i] for row in body]):
                places[role] = i
    rest = [i for i in range(width) if i not in places.values()]
    if "text" not in places and rest:
        places["text"] = max(rest, key=lambda i: sum(c.isalpha() for row in body for c in row[i]))
        rest.remove(places["text"])
    if "label" not in places:
        kinds = {i: len({row[i] for row in body}) for i in rest}
        likely = {i: n for i, n in kinds.items() if n <= max(2, len(body) // 2)}
        if not likely or "text" not in places:
            raise InputError(
                f"{path} has no column of labels, whose values occur again and again; name it with "
                "--label-column"
            )
        places["label"] = min(likely, key=lambda i: (likely[i] < 2, likely[i]))
    return places, headed


def _where(columns: Mapping[str, int], headed: bool, first: Sequence[str]) -> str:
    """Which columns were taken for what."""
    names = {"text": "texts", "label": "labels", "split": "parts", "votes": "votes"}
    places = [
        f"{names[role]} in column {first[i] if headed else i + 1}" for role, i in columns.items()
    ]
    return ", ".join(places) + ("" if "split" in columns else ", a fifth of each class set apart")


def _tells_parts(values: Sequence[str]) -> bool:
    parts = {value.casefold() for value in values}
    return parts <= PARTS and _has_parts(parts)


def _has_parts(parts: set[str]) -> bool:
    """Whether there is something to learn from, and something else."""
    return bool(parts & {*TRAIN}) and bool(parts & (PARTS - {*TRAIN}))


def _tells_votes(values: Sequence[str]) -> bool:
    return all(value[:1] == "{" and _votes(value) is not None for value in values)


def _votes(value: str) -> dict[str, float] | None:
    """Votes by their classes; None where it is something else."""
    try:
        votes = json.loads(value)
    except ValueError:
        return None
    good = isinstance(votes, dict) and all(type(n) in (int, float) for n in votes.values())
    return votes if good else None


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Numbers by their size, other names by the alphabet."""
    try:
        return tuple(sorted(names, key=float))
    except ValueError:
        return tuple(sorted(names))


def _stratified(
    table: Labelled, choose: Callable[[np.ndarray], np.ndarray], seed: int
) -> tuple[Labelled, Labelled]:
    """What is left, and what is set apart: of the different texts of each class, in an order drawn
    from ``seed``, those that ``held`` takes, but never all. The same text is never in both."""
    first = dict(zip(reversed(table.texts), reversed(table.labels), strict=True))
    random, set_apart = np.random.default_rng(seed), set[str]()
    for name in _ordered({*table.labels}):
        texts = sorted(text for text, label in first.items() if label == name)
        taken = choose(random.permutation(len(texts)))[: max(len(texts) - 1, 0)]
        set_apart |= {texts[i] for i in taken.tolist()}
    places: tuple[list[int], list[int]] = ([], [])
    for i, text in enumerate(table.texts):
        places[text in set_apart].append(i)
    return table.select(places[0]), table.select(places[1])

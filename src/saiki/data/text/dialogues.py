"""Dialogues: what people say to each other in turn, and the files that hold it."""

import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from saiki.data import store
from saiki.data.skipped import LeftOut
from saiki.data.tables.roles import known_columns
from saiki.data.tables.texts import read_texts
from saiki.data.text.digests import digest, place, plain
from saiki.data.text.pairs import DEVELOPMENT
from saiki.data.text.plain_text import decoded_lines, lines
from saiki.errors import InputError, shown
from saiki.input_kind import InputKind
from saiki.inputs import PACKED, bare, files_below, open_zip, read_text
from saiki.text.vocabulary import valid

Dialogue = tuple[str, ...]
"""Turns, each what one person says until another one does."""

SHARE = 0.05
"""Of the dialogues, those set apart to develop, and as many to test."""
ALIKE, LONG, LONG_SIGNS = 0.5, 20, 8
"""Share of the turns of a dialogue, those of so many letters, that make it a near-duplicate where
they stand in one other dialogue; a sign of Chinese or Japanese says more than a letter."""
BETWEEN = "__eou__"
"""Ends a turn in a file of DailyDialog."""
NAMES = {
    "dialogue": ("dialogue", "dialog", "dialogue_id", "dialog_id", "conversation",
                 "conversation_id", "conv_id", "session", "対話", "会話"),
    "turn": ("turn", "turn_id", "utterance_idx", "index", "number", "発話番号", "番号"),
    "text": ("text", "utterance", "message", "content", "sentence", "発話", "文", "テキスト"),
}  # fmt: skip
"""What columns and fields are called."""
TURNS = ("turns", "dialogue", "dialog", "messages", "conversation", "utterances", "対話", "発話")
"""What the list of turns is called in a dialogue that has fields."""
TABLES = (".tsv", ".csv", ".parquet")
ENDINGS = (".jsonl", ".ndjson", ".json", *TABLES, ".txt", ".zip")


@dataclass(frozen=True)
class Dialogues:
    """What is learned from, what decides when to stop, and what is tested."""

    train: tuple[Dialogue, ...]
    development: tuple[Dialogue, ...]
    test: tuple[Dialogue, ...]
    notes: str = ""
    """What a person should know of how they came about; nothing if there is nothing to say."""

    def __iter__(self) -> Iterator[tuple[Dialogue, ...]]:
        return iter((self.train, self.development, self.test))

    def in_words(self) -> str:
        """How many dialogues and replies there are of each part."""
        counts = (
            f"{len(part):,} dialogues with {sum(len(turns) - 1 for turns in part):,} replies"
            for part in self
        )
        purposes = ("learn from", "develop", "test")
        return ", ".join(f"{n} to {purpose}" for n, purpose in zip(counts, purposes, strict=True))


def dialogues(path: Path | None, left_out: LeftOut | None = None, encoding: str = "") -> Dialogues:
    """What to learn from, to develop and to test.

    A folder may hold these parts, each in a file or folder named ``train``, one in ``DEVELOPMENT``,
    and ``test``. What lacks is set apart by whole dialogues, each by a hash of what is said in it:
    the same dialogue always goes to the same part, whatever else there is.

    Args:
        path: see :func:`read_dialogues`; chitchat if None.
        left_out: takes the files of a folder that cannot be used; without it, the first is an
            error.
        encoding: of tables that are text; found without.
    """
    path = store.locate("chitchat", path) if path is None or path.exists() else path
    files, notes = _files_of_parts(path), list[str]()
    parts = {
        name: _with_replies(path, read_dialogues(file, left_out, encoding), notes)
        for name, file in files.items()
    }
    lacking = [name for name in ("development", "test") if name not in parts]
    train = parts["train"]
    if lacking:
        places: dict[str, list[Dialogue]] = defaultdict(list)
        for dialogue in train:
            number = int(place(dialogue) / SHARE)
            places[lacking[number] if number < len(lacking) else "train"].append(dialogue)
        for name in lacking:
            parts[name] = places[name]
        train = parts["train"] = places["train"]
        if not all(parts.values()):
            empty = next(name for name, part in parts.items() if not part)
            count = sum(map(len, places.values()))
            raise InputError(
                f"{path} holds too few dialogues: none of its {count:,} is left for {empty}; give "
                "more, or files named train, dev and test"
            )
        notes.append(f"{SHARE:.0%} each of the dialogues set apart as {' and '.join(lacking)}")
    for name in ("development", "test"):
        if alike := _near_duplicates(train, parts[name]):
            notes.append(
                f"{alike:,} of the dialogues of {name} are near-duplicates of some that are "
                "learned from"
            )
    development, test = tuple(parts["development"]), tuple(parts["test"])
    return Dialogues(tuple(train), development, test, "; ".join(notes))


def _with_replies(path: Path, listed: Sequence[Dialogue], notes: list[str]) -> list[Dialogue]:
    """Those of two turns or more, each once."""
    with_reply = [turns for turns in listed if len(turns) > 1]
    if alone := len(listed) - len(with_reply):
        notes.append(f"{alone:,} dialogues without a reply left out")
    unlike = list(dict.fromkeys(with_reply))
    if repeated := len(with_reply) - len(unlike):
        notes.append(f"{repeated:,} dialogues that occur again left out")
    if not unlike:
        raise InputError(f"{path} holds no dialogue of two turns or more")
    return unlike


def _files_of_parts(path: Path) -> dict[str, Path]:
    """The file or folder of each part that is by itself; all is ``train`` where none is."""
    names = {"train": ("train",), "development": DEVELOPMENT, "test": ("test",)}
    files = {
        part: file
        for part, called in (names.items() if path.is_dir() else ())
        if (file := next(filter(None, (_named(path, name) for name in called)), None))
    }
    if files and "train" not in files:
        others = " and ".join(file.name for file in files.values())
        raise InputError(f"{path} holds {others}, and nothing named train to learn from")
    return files or {"train": path}


def _named(folder: Path, name: str) -> Path | None:
    """The file or folder of a part."""
    for ending in ("", *ENDINGS):
        for packed in ("", *PACKED):
            file = folder / f"{name}{ending}{packed}"
            if file.exists() and (ending or file.is_dir()):
                return file
    return None


def read_dialogues(
    path: Path, left_out: LeftOut | None = None, encoding: str = ""
) -> list[Dialogue]:
    """The dialogues of a file, packed or not (``.gz``, ``.xz``, ``.bz2``), or of all such files in
    a folder. White space in a turn becomes one space, and empty turns are left out.

    ===========================  ==================================================================
    ``.jsonl``, ``.ndjson``      a dialogue a line: a list of turns, or an object with such a list
                                 under a name in ``TURNS``
    ``.json``                    a list of dialogues, or an object of them by any names
    ``.tsv``, ``.csv``,          a row a turn: dialogue, number of the turn, text; see
    ``.parquet``                 :func:`saiki.data.tables.texts.read_texts`
    ``.txt``                     DailyDialog, where ``__eou__`` stands between turns and a line is a
                                 dialogue; otherwise a turn a line and blank lines between dialogues
    ``.zip``                     of DailyDialog
    ===========================  ==================================================================

    In JSON a turn is a text, an object with one under a name of ``NAMES``, or a list of such
    messages, one after another by the same person.

    Raises:
        InputError: it cannot be read or holds no dialogue; the message names the file, and the line
            or the number of the dialogue.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if path.is_dir():
        endings = [f"{ending}{packed}" for ending in ENDINGS for packed in ("", *PACKED)]
        files = [file for file in files_below(path, endings) if _is_text(file)]
        if not files:
            raise InputError(
                f"{path} holds no dialogues: no file in it ends with {', '.join(ENDINGS)}"
            )
        by_file = (left_out or LeftOut()).read(files, partial(read_dialogues, encoding=encoding))
        return [dialogue for _, of_file in by_file for dialogue in of_file]
    kind = _kind(path)
    if not kind:
        raise InputError(f"{path} holds no dialogues: its name must end with {', '.join(ENDINGS)}")
    read = _of_table(path, encoding) if kind in TABLES else READERS[kind](path)
    dialogues = [turns for turns in map(_tidy, read) if turns]
    if not dialogues:
        raise InputError(f"{path} holds no dialogue")
    return dialogues


def _as_texts(path: Path) -> Iterator[str]:
    """Each dialogue as a text, a turn a line."""
    return map("\n".join, read_dialogues(path))


DIALOGUE = InputKind("dialogue", in_file=_as_texts, in_folder=_as_texts)


def _kind(path: Path) -> str:
    kind = bare(path).suffix.lower()
    return kind if kind in ENDINGS else ""


def _is_text(path: Path) -> bool:
    """Whether it is not hidden, nor about the others, nor one of DailyDialog's lists of emotions
    and acts."""
    lists = ("dialogues_act", "dialogues_emotion", "dialogues_topic")
    return not path.name.lower().startswith((".", "readme", "license", "licence", *lists))


def _tidy(turns: Iterable[str]) -> Dialogue:
    return tuple(text for turn in turns if (text := " ".join(turn.split())))


def _of_lines(path: Path) -> Iterator[list[str]]:
    for number, line in enumerate(lines(path), 1):
        if line.strip():
            yield _turns(_json(line, f"line {number} of {path}"), f"line {number} of {path}")


def _of_json(path: Path) -> Iterator[list[str]]:
    content = _json(read_text(path), str(path))
    if isinstance(content, dict) and not any(name in content for name in TURNS):
        content = list(content.values())
    elif isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        raise InputError(f"{path} must hold a list of dialogues, or an object of them")
    if content and all(isinstance(each, str) for each in content):
        content = [content]
    for number, each in enumerate(content, 1):
        yield _turns(each, f"dialogue {number} of {path}")


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise InputError(f"{where} cannot be read as JSON: {reason}") from None


def _turns(dialogue: Any, where: str) -> list[str]:
    if isinstance(dialogue, dict):
        dialogue = next((dialogue[name] for name in TURNS if name in dialogue), None)
    if not isinstance(dialogue, list):
        raise InputError(
            f"{where} is no dialogue: it must be a list of turns, or an object with one under "
            f"{', '.join(TURNS[:4])}"
        )
    return [_text_of(turn, where) for turn in dialogue]


def _text_of(turn: Any, where: str) -> str:
    """The text of a turn."""
    if isinstance(turn, list) and not any(isinstance(each, list) for each in turn):
        return "\n".join(_text_of(message, where) for message in turn)
    if isinstance(turn, dict):
        turn = next((turn[name] for name in NAMES["text"] if name in turn), turn)
    if not isinstance(turn, str):
        raise InputError(
            f"{where} has the turn {shown(str(turn)[:60])}; a turn must be a text, or an object "
            f"with one under {', '.join(NAMES['text'][:4])}"
        )
    return unicodedata.normalize("NFC", valid(turn))


def _of_table(path: Path, encoding: str) -> Iterator[list[str]]:
    names = {name for known in NAMES.values() for name in known}
    rows = read_texts(path, encoding, names).texts
    if len(rows[0]) < 3:
        raise InputError(
            f"{path} has {len(rows[0])} columns; a table of dialogues has three: the dialogue, the "
            "number of the turn, and the text"
        )
    places = known_columns(rows[0], NAMES)
    headed = len(places) == len(NAMES)
    if not headed and len(rows[0]) > 3:
        lacks = " and ".join(role for role in NAMES if role not in places)
        raise InputError(
            f"{path} has {len(rows[0])} columns and none called {lacks}; its first row must name "
            "the columns dialogue, turn and text"
        )
    a, b, c = (places[role] if headed else i for i, role in enumerate(NAMES))
    turns_of = defaultdict[str, dict[float, str]](dict)
    for row in rows[headed:]:
        dialogue, turn, text = row[a], row[b], row[c]
        try:
            number = float(turn)
        except ValueError:
            raise InputError(
                f"{path} has the turn {shown(turn)} in dialogue {shown(dialogue)}; turns are "
                "numbered" + ("" if headed else ", and a header names dialogue, turn and text")
            ) from None
        if number in turns_of[dialogue] or number != number:
            raise InputError(f"{path} has turn {shown(turn)} of dialogue {shown(dialogue)} twice")
        turns_of[dialogue][number] = text
    for turns in turns_of.values():
        yield [turns[number] for number in sorted(turns)]


def _in_lines(text: Iterable[str]) -> Iterator[list[str]]:
    block = list[str]()
    for line in text:
        if BETWEEN in line:
            yield line.split(BETWEEN)
        elif line.strip():
            block.append(line)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _of_archive(path: Path) -> Iterator[list[str]]:
    with open_zip(path) as archive:
        names = [n for n in archive.namelist() if n.endswith(".txt") and _is_text(Path(n))]
        if not names:
            raise InputError(f"{path} holds no text file of dialogues")
        for name in names:
            with archive.open(name) as file:
                yield from _in_lines(decoded_lines(file, f"{name} in {path}"))


READERS = {
    ".jsonl": _of_lines,
    ".ndjson": _of_lines,
    ".json": _of_json,
    ".txt": lambda path: _in_lines(lines(path)),
    ".zip": _of_archive,
}


def _near_duplicates(train: Sequence[Dialogue], others: Sequence[Dialogue]) -> int:
    """How many of the others are learned from, too, or have half of their long turns, two at least,
    in one dialogue that is."""
    where: dict[str, set[int]] = defaultdict(set)
    for number, dialogue in enumerate(train):
        for turn in _long(dialogue):
            where[turn].add(number)
    learned, count = set(map(digest, train)), 0
    for dialogue in others:
        long = _long(dialogue)
        shared = Counter(number for turn in long for number in where.get(turn, ()))
        largest = max(shared.values(), default=0)
        count += largest >= max(2, ALIKE * len(long)) or digest(dialogue) in learned
    return count


def _long(dialogue: Dialogue) -> set[str]:
    """Its turns that nobody says twice by chance."""
    letters = filter(None, map(plain, dialogue))
    return {p for p in letters if len(p) >= (LONG_SIGNS if max(p) >= "\u2e80" else LONG)}

"""The same tables through every exercise that takes one: what is read of them, and what is said of
those that cannot be read."""

import bz2
import csv
import gzip
import io
import itertools
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile

from saiki.data.text.word_tests import read_pairs
from saiki.errors import InputError
from saiki.experiments import load

Rows = list[tuple[str, ...]]
DELIMITERS = "\t,;|"
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp932", "euc_jp")
ENDS = ("\n", "\r\n", "\r")
PACKED = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
WORDS = ["犬が走る", "猫が寝る", "鳥が鳴く", "魚が泳ぐ", "馬が跳ぶ", "牛が食う"]


@dataclass(frozen=True)
class Taker:
    """An exercise, and what a table of its own holds."""

    header: tuple[str, ...]
    rows: Rows
    read: Callable[..., Any]


def experiment(name, **knobs):
    return load(name)(**knobs)


def of_forecast(path, **how):
    named = {"target": "2"} if how.pop("nameless", False) else {"target": "気温"}
    (series,) = experiment("forecast", data=str(path), **named, **how).source.table.series
    return [*zip(series.times.astype("M8[D]").astype(str), series.targets[:, 0], strict=True)]


def of_sin_cos(path, nameless=False, **how):
    series = experiment("sin-cos", data=str(path), steps=2, **how).data.series
    return series.values.tolist()


def of_translate(path, nameless=False, **how):
    corpus = experiment("translate", data=str(path), source_tokens="characters", **how).data.corpus
    return sorted(pair for part in corpus for pair in zip(part.source, part.target, strict=True))


def of_sentences(path, nameless=False, **how):
    parts = experiment(
        "sentences", data=str(path), tokens="plain", vectors="scratch", **how
    ).data.parts
    both = (parts.train, parts.test)
    return sorted(pair for part in both for pair in zip(part.texts, part.labels, strict=True))


def of_dialogue(path, nameless=False, **how):
    parts = experiment("dialogue", data=str(path), **how).data.parts
    return sorted(turns for part in parts for turns in part)


def of_sounds(name):
    def read(path, nameless=False, **how):
        for number in range(6):
            file = path.parent / f"音{number}.wav"
            if not file.exists():
                soundfile.write(file, np.sin(np.arange(400)), 8000)
        recordings = experiment(name, data=str(path), **how).data.recordings
        return [(each.name, each.label) for each in recordings.entries]

    return read


def of_words(path, nameless=False, **how):
    return [tuple(pair) for pair in read_pairs(path, **how).rows]


TALKS = [(f"話{i}", str(turn), f"{WORDS[turn]}{i}") for i in range(60) for turn in range(2)]
TAKERS = {
    "forecast": Taker(
        ("日付", "気温"), [(f"2024年3月{i}日", str(i * i)) for i in range(1, 8)], of_forecast
    ),
    "sin-cos": Taker(
        ("入力", "出力"), [(str(i), str(i * i / 4)) for i in range(1, 9)], of_sin_cos
    ),
    "translate": Taker(("ja", "en"), [(w, f"text {i}") for i, w in enumerate(WORDS)], of_translate),
    "sentences": Taker(
        ("文", "ラベル"), [(w, ("良", "悪")[i % 2]) for i, w in enumerate(WORDS)], of_sentences
    ),
    "dialogue": Taker(("対話", "番号", "発話"), TALKS, of_dialogue),
    **{
        name: Taker(
            ("path", "label"), [(f"音{i}.wav", "犬猫"[i % 2]) for i in range(6)], of_sounds(name)
        )
        for name in ("spoken-digits", "sound-codes")
    },
    "words": Taker(
        ("語1", "語2", "類似度"), [(a, b, "4.5") for a, b in itertools.pairwise(WORDS)], of_words
    ),
}  # fmt: skip
EVERY = pytest.mark.parametrize("name", TAKERS)


def text_of(rows, delimiter=",", end="\n", quoting=csv.QUOTE_MINIMAL):
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(rows)
    return file.getvalue()


def put(folder, data, name="t.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode(encoding))
    return path


def wanted(taker, folder):
    """What is read of the plainest table."""
    return taker.read(put(folder, text_of([taker.header, *taker.rows]), "plain.csv"))


@EVERY
def test_every_delimiter_encoding_header_quotation_and_end_of_line(tmp_path, name):
    taker = TAKERS[name]
    plain = wanted(taker, tmp_path)
    assert len(plain) > 4
    assert all(isinstance(cell, float) or cell for row in plain for cell in row)
    others = itertools.cycle(itertools.product(ENDS, (csv.QUOTE_MINIMAL, csv.QUOTE_ALL), (1, 0)))
    for delimiter, encoding in itertools.product(DELIMITERS, ENCODINGS):
        end, quoting, has_header = next(others)
        rows = [taker.header, *taker.rows] if has_header else taker.rows
        path = put(tmp_path, text_of(rows, delimiter, end, quoting), encoding=encoding)
        which = delimiter, encoding, end, quoting, has_header
        assert taker.read(path, nameless=not has_header) == plain, which


@EVERY
def test_packed_named_and_said_tables_and_parquet(tmp_path, name):
    taker = TAKERS[name]
    plain, rows = wanted(taker, tmp_path), [taker.header, *taker.rows]
    for ending, pack in PACKED.items():
        path = put(tmp_path, pack(text_of(rows, "\t").encode("cp932")), f"t.tsv{ending}")
        assert taker.read(path) == plain, ending
    assert taker.read(put(tmp_path, "sep=^\n" + text_of(rows, "^"))) == plain
    if name != "words":
        path = put(tmp_path, text_of(rows), encoding="iso2022_jp")  # which nothing shows
        assert taker.read(path, encoding="iso2022_jp") == plain
    columns = dict(zip(taker.header, zip(*taker.rows, strict=True), strict=True))
    pl.DataFrame(columns).write_parquet(tmp_path / "t.parquet")
    assert taker.read(tmp_path / "t.parquet") == plain


@EVERY
def test_what_stands_around_cells_and_rows_is_passed_over(tmp_path, name):
    taker = TAKERS[name]
    plain = wanted(taker, tmp_path)
    rows = [taker.header, *taker.rows]
    text = "\n".join("  ,\t".join(row) + " " for row in rows)
    assert taker.read(put(tmp_path, text.replace("\n", "\n \n\n", 2) + "\n\n,\n")) == plain
    if name not in ("translate", "words", "sin-cos"):  # nothing tells the header of these
        report = "Report of,the,whole,year\n\nand more\n"
        assert taker.read(put(tmp_path, report + text_of(rows))) == plain


def faults(taker):
    """Tables that cannot be read, and what is said of each."""
    width = len(taker.header)
    text = text_of([taker.header, *taker.rows])
    line = len(taker.rows) + 2
    return {
        "uneven": (
            text + ",".join("abcd"[: width + 1]),
            f"FILE has {width + 1} columns in line {line} instead of {width}, with a comma between "
            "them; take the line away, or write it as the others are",
        ),
        "open": (
            f'{text}"1{",1" * (width - 1)}\n{text_of(taker.rows)}',
            f"FILE has a quotation mark in line {line} that is not closed",
        ),
        "inside": (
            f'{text}"1"2{",1" * (width - 1)}\n',
            f"FILE has a quotation mark inside a field in line {line}; double it, and put the "
            "field into quotation marks, or take it away",
        ),
        "empty": ("", "FILE is empty; it needs a row for each example"),
        "workbook": (
            b"PK\3\4" + bytes(99),
            "FILE is a workbook or an archive; save the table as CSV",
        ),
        "packed": (gzip.compress(text.encode()), "FILE is packed; call it .gz at the end"),
        "no text": (
            b"\x7fELF\0\0\0" + bytes(range(256)),
            "FILE is no text; save the table as CSV in UTF-8",
        ),
        "torn": (
            "\ufeff".encode() + text.encode("cp932") + "\n音".encode("cp932"),
            "FILE begins as UTF-8 does, and is not so throughout; save it as UTF-8",
        ),
        "damaged": (
            text.encode() + "音".encode() * 9 + b"\xff\n",
            f"FILE is UTF-8, but not in line {line}; mend it there, or name its encoding with "
            "--encoding",
        ),
    }  # fmt: skip


@EVERY
def test_the_same_is_said_of_what_cannot_be_read(tmp_path, name):
    taker = TAKERS[name]
    for fault, (data, sentence) in faults(taker).items():
        path = put(tmp_path, data)
        with pytest.raises(InputError) as caught:
            taker.read(path)
        assert str(caught.value).replace(str(path), "FILE") == sentence, fault
    if name != "words":
        path = put(tmp_path, text_of([taker.header, *taker.rows]), encoding="cp932")
        with pytest.raises(InputError, match=r"t\.csv is not utf-8 throughout$"):
            taker.read(path, encoding="utf-8")
        for none in ("latin-99", "rot13", "base64", "hex"):  # the last three are codecs of no text
            with pytest.raises(InputError, match=f"there is no encoding '{none}'"):
                taker.read(path, encoding=none)

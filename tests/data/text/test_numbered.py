"""Texts as numbers of their words: order, breaks, counts, and what is left out."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from saiki.data.text import numbered
from saiki.data.text.numbered import NumberedText, text_lines
from saiki.errors import InputError, SaikiError


def read(*lines):
    return NumberedText(lines, str.split)


def test_words_are_numbered_as_they_are_met():
    text = read("b a b", "", "c a")
    assert text.numbers == {"b": 0, "a": 1, "c": 2}
    assert text.counts.tolist() == [2, 2, 1]
    assert text.words == 5
    assert text.piece(0, 9, text.places(["a", "b", "c"])).tolist() == [1, 0, 1, -1, 2, 0]


def test_a_blank_line_and_a_long_one_end_what_belongs_together():
    text = read("a b", "c", "  ", "x " * 60, "d")
    piece = text.piece(0, 100, text.places(["a", "b", "c", "d", "x"])).tolist()
    assert piece == [0, 1, 2, -1, *[4] * 60, -1, 3]


def test_words_come_by_falling_count_and_rare_ones_are_left_out():
    text = read("d b b a a a c c")
    words, counts = text.frequent(2)
    assert words == ["a", "b", "c"]
    assert counts.tolist() == [3, 2, 2]
    assert text.frequent(1, 1)[0] == ["a"]
    assert text.piece(0, 9, text.places(words)).tolist() == [1, 1, 0, 0, 0, 2, 2]


def test_pieces_lie_end_to_end(monkeypatch):
    monkeypatch.setattr(numbered, "BUFFER", 3)
    text = NumberedText((f"w{i % 7} w{i % 3}" for i in range(50)), str.split)
    words, _ = text.frequent()
    places = text.places(words)
    whole = text.piece(0, 1000, places)
    parts = [text.piece(i * 7, 7, places) for i in range(text.pieces(7))]
    assert np.concatenate(parts).tolist() == whole.tolist()
    assert len(whole) == 100
    assert text.piece(5000, 7, places).size == 0


def test_of_too_many_words_the_rarest_are_forgotten(monkeypatch):
    monkeypatch.setattr(numbered, "BUFFER", 10)
    monkeypatch.setattr(numbered, "MOST_KINDS", 20)
    lines = [f"often often rare{i}" for i in range(100)]
    text = NumberedText(lines, str.split)
    assert len(text.numbers) <= 24
    words, counts = text.frequent(2)
    assert (words, counts.tolist()) == (["often"], [200])
    assert (text.piece(0, 1000, text.places(words)) == 0).all()


def test_no_two_words_share_a_number_after_some_are_forgotten(monkeypatch):
    monkeypatch.setattr(numbered, "BUFFER", 10)
    monkeypatch.setattr(numbered, "MOST_KINDS", 20)
    lines = [f"often often rare{i}" for i in range(100)] + [f"late{i % 9}" for i in range(900)]
    text = NumberedText(lines, str.split)
    assert len(set(text.numbers.values())) == len(text.numbers)
    words, counts = text.frequent(90)
    assert dict(zip(words, counts.tolist(), strict=True)) == {
        "often": 200, **{f"late{i}": 100 for i in range(9)},
    }  # fmt: skip


def test_nothing_has_no_words():
    text = read()
    assert (text.words, text.length, text.pieces(5)) == (0, 0, 0)
    assert text.frequent()[0] == []


def test_the_standard_input_is_a_text(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("猫 は\nねる".encode())))
    assert list(text_lines("-")) == ["猫 は", "ねる"]
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="no standard input"):
        text_lines("-")


def test_a_folder_of_temporary_files_that_is_full_is_told_in_a_sentence(monkeypatch):
    sentence = r"^cannot keep the text in .*: No space left on device; TMPDIR names another folder$"
    with Path("/dev/full").open("r+b") as full:
        monkeypatch.setattr(numbered.tempfile, "TemporaryFile", lambda: full)
        with pytest.raises(SaikiError, match=sentence):
            read("a b")
        assert full.closed

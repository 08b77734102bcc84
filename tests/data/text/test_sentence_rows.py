"""Sentences in three parts, and batches of them."""

import numpy as np
import pytest

from saiki.data.text.digests import place
from saiki.data.text.sentence_rows import SentenceRows, Sentences, batch, by_length, spread
from saiki.errors import InputError
from saiki.text import END, PAD, Text

MANY = [f"number {i} and then {i * 7} more ." for i in range(2000)]


def test_a_sentence_is_in_one_part_whatever_else_there_is_and_however_it_is_printed():
    whole = Sentences.parted(MANY)
    part_of = {s: name for name in ("train", "development", "test") for s in getattr(whole, name)}
    assert part_of.keys() == {*MANY}
    assert 20 < len(whole.development) < 60
    assert 20 < len(whole.test) < 60
    half = Sentences.parted([*reversed(MANY[::2]), *MANY[::2]])
    for name in ("train", "development", "test"):
        assert all(part_of[s] == name for s in getattr(half, name))
    loud = Sentences.parted([s.upper().replace(" .", "!") for s in MANY])
    assert [s.lower().replace("!", " .") for s in loud.test] == whole.test
    assert half.notes == ("1,000 that occur again left out",)
    assert whole.notes == ()


def test_places_are_spread_evenly():
    places = sorted(place([s]) for s in MANY)
    assert max(abs(p - (i + 0.5) / len(places)) for i, p in enumerate(places)) < 0.05


def test_empty_lines_are_left_out_and_so_many_are_learned_from_evenly_spread():
    parts = Sentences.parted(["", "   ", *MANY, "\t"], most=10)
    assert len(parts.train) == 10
    every = Sentences.parted(MANY).train
    assert parts.train[0] == every[0]
    assert parts.train[-1] == every[-1]
    assert parts.notes == (f"learned from 10 of {len(every):,}",)
    assert len(parts.test) == len(Sentences.parted(MANY).test)


@pytest.mark.parametrize("lines", [[], [""], ["One."], ["the same"] * 999])
def test_too_few_sentences_are_refused(lines):
    with pytest.raises(InputError, match=r"different sentences none is left to .*give some hund"):
        Sentences.parted(lines)


def rows(longest=20, **changes):
    parts = Sentences.parted([*MANY, "one two three four five six seven eight nine ten eleven"])
    return parts, SentenceRows.of(parts, Text.learn("words", parts.train), longest)


def test_rows_hold_each_sentence_and_its_end_but_those_that_are_too_long():
    part_rows, whole = rows()
    assert [len(part) for part in (whole.train, whole.development, whole.test)] == [
        len(part) for part in part_rows
    ]
    assert whole.left_out == 0
    assert all(row[-1] == END and len(row) in (8, 12) for row in whole.train.rows())
    _, short = rows(longest=7)
    assert short.left_out == 1
    with pytest.raises(InputError, match="none is left: all have more than 3 tokens"):
        rows(longest=3)


def test_rows_side_by_side_are_padded_to_the_longest():
    _, whole = rows()
    seen = []
    for places in np.array_split(np.arange(len(whole.train)), 4):
        tokens, lengths = batch(whole.train, places)
        assert tokens.shape[1] == lengths.max()
        for row, length in zip(tokens.tolist(), lengths.tolist(), strict=True):
            seen.append(row[:length])
            assert row[length:] == [PAD] * (len(row) - length)
    assert seen == [row.tolist() for row in whole.train.rows()]


def test_rows_by_length_are_all_of_them_with_their_places():
    _, whole = rows()
    every = [row.tolist() for row in whole.test.rows()]
    by_place = {}
    for places, (tokens, lengths) in by_length(whole.test, 7):
        for at, row, length in zip(places.tolist(), tokens, lengths, strict=True):
            by_place[at] = row[:length].tolist()
    assert [by_place[i] for i in range(len(every))] == every
    assert len(spread(whole.test, 5)) == 5
    assert spread(whole.test, 0) is spread(whole.test, 10**6) is whole.test


def test_the_unknown_share_is_of_what_is_learned_from():
    parts = Sentences.parted(MANY)
    text = Text.learn("words", parts.train, 20)
    share = SentenceRows.of(parts, text, 20).unknown
    tokens = [t for s in parts.train for t in s.split()]
    known = set(text.vocabulary.words)
    assert share == pytest.approx(sum(t not in known for t in tokens) / len(tokens))

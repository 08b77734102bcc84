"""Splits: three parts without overlap, each class in each, voices kept apart where asked."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from saiki.data.sound.layouts import Recording, Recordings
from saiki.data.sound.splits import split
from saiki.errors import InputError

FOUR = ("george", "jackson", "lucas", "yweweler")


def recordings(entries):
    wave = np.ones(1, np.float32)
    return Recordings(8_000, tuple(entries), (wave,) * len(entries))


def digits(speakers=FOUR, takes=50):
    """Named as the 2,000 recordings of four speakers are."""
    return recordings(
        [
            Recording(Path(f"{d}_{s}_{t}.wav"), f"{d}_{s}_{t}.wav", str(d), s, t)
            for d in range(10)
            for s in speakers
            for t in range(takes)
        ]
    )


def classes(**counts):
    return recordings(
        [
            Recording(Path(f"{c}/{n}.wav"), f"{c}/{n}.wav", c)
            for c in counts
            for n in range(counts[c])
        ]
    )


def labels(data, part):
    return Counter(data.entries[index].label for index in part)


@pytest.mark.parametrize("how", ["random", "official", "speakers"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_recording_is_in_exactly_one_part(how, seed):
    data = digits()
    parts = split(data, how, seed, ("lucas",))
    assert sorted(parts.train + parts.validation + parts.test) == list(range(2_000))
    assert parts == split(data, how, seed, ("lucas",))
    assert parts != split(data, how, seed + 1, ("lucas",))


def test_2000_digits_are_split_at_random_into_1400_300_and_300():
    data = digits()
    parts = split(data, "random", 0)
    for part, each in ((parts.train, 140), (parts.validation, 30), (parts.test, 30)):
        assert labels(data, part) == {str(digit): each for digit in range(10)}
    # a shuffle, not the last ones: all speakers and early and late takes are tested
    tested = [data.entries[index] for index in parts.test]
    assert {each.speaker for each in tested} == set(FOUR)
    assert 20 < np.mean([each.take for each in tested]) < 29


@pytest.mark.parametrize(
    ("count", "sizes"),
    [
        (2, (1, 0, 1)),
        (3, (1, 1, 1)),
        (4, (2, 1, 1)),
        (7, (5, 1, 1)),
        (10, (6, 2, 2)),
        (20, (14, 3, 3)),
    ],
)
def test_small_classes_are_in_each_part_as_far_as_they_reach(count, sizes):
    data = classes(small=count, large=20)
    parts = split(data, "random", 0)
    got = tuple(labels(data, part)["small"] for part in (parts.train, parts.validation, parts.test))
    assert got == sizes


def test_the_official_split_tests_takes_0_to_4_and_validates_a_tenth_of_the_rest():
    data = digits()
    parts = split(data, "official", 0)
    assert {data.entries[index].take for index in parts.test} == {0, 1, 2, 3, 4}
    assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [1620, 180, 200]
    pairs = Counter((data.entries[i].label, data.entries[i].speaker) for i in parts.validation)
    assert len(pairs) == 40
    assert set(pairs.values()) == {4, 5}  # of 45 each


def test_the_voices_that_are_tested_are_heard_nowhere_else():
    data = digits()
    parts = split(data, "speakers", 0, ("lucas", "george"))
    assert {data.entries[index].speaker for index in parts.test} == {"lucas", "george"}
    assert len(parts.test) == 1_000
    for part, each in ((parts.train, 45), (parts.validation, 5)):
        pairs = Counter((data.entries[i].label, data.entries[i].speaker) for i in part)
        assert pairs == {(str(d), s): each for d in range(10) for s in ("jackson", "yweweler")}


def test_of_a_class_with_little_left_at_least_one_validates():
    parts = split(digits(takes=3), "speakers", 0, ("lucas",))
    assert len(parts.validation) == 10  # of 9 in each class
    parts = split(digits(("ann", "bo"), takes=2), "speakers", 0, ("bo",))
    assert len(parts.validation) == len(parts.train) == 10


def refusal(data, how, *speakers):
    with pytest.raises(InputError) as caught:
        split(data, how, 0, speakers)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_split_that_cannot_be_made_is_told_in_a_sentence():
    data, unnamed = digits(), classes(a=5, b=5)
    assert refusal(data, "odd") == ("a split must be one of random, official, speakers, got 'odd'")
    assert "take of a/0.wav is not known; use the split random or speakers" in refusal(
        unnamed, "official"
    )
    assert "these recordings do not tell" in refusal(unnamed, "speakers", "ann")
    assert refusal(data, "speakers") == (
        "the split speakers needs the speakers to test; there are george, jackson, lucas, yweweler"
    )
    assert refusal(data, "speakers", "lucas", "bo") == (
        "there is no speaker 'bo'; there are george, jackson, lucas, yweweler"
    )
    assert "are tested, which leaves none to learn from" in refusal(data, "speakers", *FOUR)
    partly = recordings((*data.entries, Recording(Path("x.wav"), "x.wav", "0")))
    assert refusal(partly, "speakers", "lucas").endswith("and x.wav does not tell")


def test_a_part_or_class_without_recordings_is_told_in_a_sentence():
    assert "leaves none to validate on" in refusal(classes(a=2, b=2), "random")
    late = [each for each in digits().entries if each.take >= 5]
    assert "leaves none to test" in refusal(recordings(late), "official")
    alone = Recording(Path("x.wav"), "x.wav", "x", "lucas", 9)
    only = recordings((*digits().entries, alone))
    assert refusal(only, "speakers", "lucas") == (
        "this split leaves no recording of the class 'x' to learn from"
    )

"""Utterances by synthetic speakers: made once, then read; and made again where that fails."""

import numpy as np
import pooch
import pytest

from saiki.data.sound import utterances
from saiki.data.sound.utterances import digits
from saiki.data.sound.voices import digit, say_all, voices
from saiki.saving import tensors

pytest.importorskip("espeakng_loader")

COUNT, SEED, RATE = 30, 3, 8_000


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """A cache folder of the test's own, and not the user's."""
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    return tmp_path / "cache"


@pytest.fixture
def made(monkeypatch):
    """How many words were said by each call that said some."""
    counts = []

    def counted(words, rate):
        counts.append(len(words))
        return say_all(words, rate)

    monkeypatch.setattr(utterances, "say_all", counted)
    return counts


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def same(ours, theirs):
    assert ours[1] == theirs[1]
    assert len(ours[0]) == len(theirs[0])
    for a, b in zip(ours[0], theirs[0], strict=True):
        assert a.dtype == b.dtype == np.float32
        np.testing.assert_array_equal(a, b)


def test_the_digits_come_in_turn_each_by_a_voice_of_its_own():
    waves, numbers = digits(COUNT, SEED, RATE)
    assert numbers == tuple(i % 10 for i in range(30))
    words = [(digit(i % 10, v), v) for i, v in enumerate(voices(COUNT, SEED))]
    for ours, theirs in zip(waves, say_all(words, RATE), strict=True):
        # they are kept in 16 bits, and what exceeds full scale is clipped
        np.testing.assert_allclose(ours, theirs.clip(-1, 1), rtol=0, atol=0.51 / 32767)
        assert np.abs(ours).max() > 0.05


def test_they_are_made_once_and_read_back_to_the_last_bit(cache, made):
    first = digits(COUNT, SEED, RATE)
    (path,) = files(cache)
    same(digits(COUNT, SEED, RATE), first)
    assert made == [COUNT]
    cached, about = tensors.load(path)
    assert cached["lengths"].tolist() == [len(wave) for wave in first[0]]
    assert about == {"rate": RATE}


def test_other_counts_seeds_and_rates_are_kept_apart(cache, made):
    several = [(COUNT, SEED, RATE), (21, SEED, RATE), (COUNT, 4, RATE), (COUNT, SEED, 11_025)]
    first = [digits(*each) for each in several]
    assert made == [30, 21, 30, 30]
    assert len(files(cache)) == 4
    for each, want in zip(several, first, strict=True):
        same(digits(*each), want)
    assert len(made) == 4
    assert len(first[3][0][0]) == pytest.approx(11_025 / 8_000 * len(first[0][0][0]), rel=0.01)
    assert not np.array_equal(first[0][0][0], first[2][0][0])


def test_a_damaged_file_is_made_anew(cache, made):
    first = digits(COUNT, SEED, RATE)
    (path,) = files(cache)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for damaged in (bytes(flipped), whole[:-1], b"", b"no tensors at all"):
        made.clear()
        path.write_bytes(damaged)
        same(digits(COUNT, SEED, RATE), first)
        assert made == [COUNT]
        assert path.read_bytes() == whole


def test_without_a_folder_that_can_be_written_they_are_made_each_time(cache, made):
    cache.write_text("a file where the folder should be")
    first = digits(COUNT, SEED, RATE)
    same(digits(COUNT, SEED, RATE), first)
    assert made == [COUNT, COUNT]
    assert cache.read_text() == "a file where the folder should be"

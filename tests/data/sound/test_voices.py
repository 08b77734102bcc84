"""Synthetic speakers: the same bits everywhere, words and voices that differ, clear errors."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from saiki.data.sound import voices
from saiki.data.sound.voices import ACCENTS, DIGITS, VARIANTS, Voice, digit, say, say_all
from saiki.errors import InputError, SaikiError

pytest.importorskip("espeakng_loader")

PROGRAM = """
import hashlib, sys
from saiki.data.sound.voices import Voice, digit, say, say_all, voices
many = voices(60, 0)
some = (*many, Voice("en-us", "caleb"), Voice("en", "sandro"), Voice("en", "klatt6"))
order = list(range(len(some)))
if sys.argv[1] == "backwards":
    order.reverse()
def of(wave):
    return hashlib.sha256(wave.tobytes()).hexdigest()
alone = {i: of(say(digit(i % 10, some[i]), some[i], 8_000)) for i in order}
together = say_all([(digit(i % 10, voice), voice) for i, voice in enumerate(some)], 8_000)
print([alone[i] for i in range(len(some))], [of(wave) for wave in together])
"""


def fingerprints(order):
    command = [sys.executable, "-c", PROGRAM, order]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_process_says_the_same_bits_in_any_order():
    # breath is noise from two generators, one of them seeded by the clock, and an oscillator
    # goes on where the word before left it
    first = fingerprints("forwards")
    assert len(first) > 100 * 64
    assert first == fingerprints("forwards") == fingerprints("backwards")


def test_a_word_is_loud_short_and_without_silence_around_it():
    for rate in (8_000, 22_050):
        for number in range(10):
            wave = say(DIGITS[number], Voice(), rate)
            assert wave.dtype == np.float32
            assert wave.ndim == 1
            assert 0.15 < len(wave) / rate < 1.0
            peak = np.abs(wave).max()
            assert 0.1 < peak <= 1.0
            edges = np.flatnonzero(np.abs(wave) > voices.QUIET * peak)[[0, -1]] / rate
            assert edges[0] <= 0.011
            assert len(wave) / rate - edges[1] <= 0.031


def hertz(wave, rate=8_000):
    """The fundamental between 60 and 400 Hz: the highest peak of the autocorrelation."""
    middle = wave[len(wave) // 4 : len(wave) // 2]
    correlation = np.correlate(middle, middle, "full")[len(middle) - 1 :]
    shortest, longest = rate // 400, rate // 60
    return rate / (shortest + np.argmax(correlation[shortest:longest]))


def test_pitch_and_rate_do_what_they_say():
    low, high = (say("nine", Voice(pitch=p, pitch_range=0), 8_000) for p in (10, 90))
    assert hertz(high) > 1.3 * hertz(low)
    slow, fast = (say("nine", Voice(rate=r), 8_000) for r in (90, 300))
    assert len(slow) > 1.5 * len(fast)


def test_other_throats_and_languages_sound_different():
    waves = {
        say("nein", Voice(*name), 8_000).tobytes()
        for name in (("en-us",), ("en",), ("de",), ("en-us", "f3"), ("en-us", "klatt"))
    }
    assert len(waves) == 5


def test_every_voice_that_may_be_drawn_says_every_digit():
    for variant in VARIANTS:
        assert len(say("one", Voice("en-us", variant), 8_000))
    for language in (*voices.ENGLISH, *ACCENTS):
        voice = Voice(language)
        spoken = say_all([(digit(n, voice), voice) for n in range(10)], 8_000)
        assert all(0.08 < len(wave) / 8_000 < 1.5 for wave in spoken), language


def test_voices_are_drawn_by_seed_and_differ():
    many = voices.voices(500, 0)
    assert many == voices.voices(500, 0)
    assert many[:10] == voices.voices(10, 0)
    assert many != voices.voices(500, 1)
    assert len(set(many)) == 500
    assert len({voice.variant for voice in many}) > 70
    foreign = sum(voice.language in ACCENTS for voice in many)
    assert 140 < foreign < 210  # 35 % of 500
    assert all(v.language in voices.ENGLISH for v in voices.voices(100, 0, accents=0.0))


def test_digits_are_spelled_for_the_voice():
    assert digit(9, Voice("en-gb-scotland")) == "nine"
    assert digit(9, Voice("de")) == "nein"
    assert all(len(words) == 10 for words in ACCENTS.values())
    with pytest.raises(InputError, match=r"from 0 to 9, got 10$"):
        digit(10, Voice())


def test_threads_take_turns():
    lines = [(word, voice) for word, voice in zip(DIGITS, voices.voices(10, 3), strict=True)]
    expected = [say(*line, 8_000) for line in lines]
    spoken = {}

    def speak(n):
        spoken[n] = say(*lines[n], 8_000)

    threads = [threading.Thread(target=speak, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(spoken[n], expected[n]) for n in range(10))


@pytest.mark.parametrize("name", [("xx",), ("en-us", "nobody"), ("en-us", "../en"), ("",)])
def test_an_unknown_voice_is_told(name):
    with pytest.raises(InputError, match=r"^espeak-ng has no voice "):
        say("one", Voice(*name), 8_000)
    assert len(say("one", Voice(), 8_000))  # and the next one may speak


@pytest.mark.parametrize("text", ["", "  ", "..."])
def test_nothing_to_say_is_told(text):
    with pytest.raises(InputError, match=r"^there is nothing to say in '"):
        say(text, Voice(), 8_000)


@pytest.mark.parametrize(("field", "value"), [("rate", 20), ("pitch", 101), ("pitch_range", -1)])
def test_a_manner_out_of_range_is_refused(field, value):
    with pytest.raises(InputError, match=rf"^{field} of a voice must lie from .* got {value}$"):
        Voice(**{field: value})


def test_a_missing_or_broken_package_is_told_in_a_sentence(monkeypatch, tmp_path):
    import espeakng_loader

    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(tmp_path / "none.so"))
    with pytest.raises(SaikiError, match=r"^espeak-ng cannot be used here: "):
        say("one", Voice(), 8_000)
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SaikiError, match=r"pip install 'saiki\[voices\]'$"):
        say("one", Voice(), 8_000)

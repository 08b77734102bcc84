"""Recordings read from files: what comes in, what is skipped, and what is too little to learn."""

import time

import numpy as np
import pytest
import soundfile

from saiki.data import Skipped, load
from saiki.errors import InputError


def tone(path, hertz=440, rate=8_000, seconds=0.2, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    soundfile.write(path, np.stack([wave] * channels, 1), rate)
    return path


def broken(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF and no more")


def test_rates_lengths_channels_and_formats_may_be_mixed(tmp_path):
    tone(tmp_path / "a" / "1.wav", 440, 8_000, 0.2)
    tone(tmp_path / "a" / "2.flac", 440, 44_100, 0.3, channels=2)
    tone(tmp_path / "b" / "1.ogg", 880, 22_050, 0.5)
    tone(tmp_path / "b" / "2.wav", 880, 48_000, 0.25, channels=3)
    got = load(tmp_path, 8_000)
    assert [each.name for each in got.entries] == ["a/1.wav", "a/2.flac", "b/1.ogg", "b/2.wav"]
    assert [len(wave) for wave in got.waves] == [1_600, 2_400, 4_000, 2_000]
    assert (len(got), got.rate, got.classes, got.skipped) == (4, 8_000, ("a", "b"), ())
    for entry, wave in zip(got.entries, got.waves, strict=True):
        assert wave.dtype == np.float32
        spectrum = np.abs(np.fft.rfft(wave[:1_600]))
        assert np.argmax(spectrum) * 5 == {"a": 440, "b": 880}[entry.label]


def test_what_cannot_be_used_is_skipped_with_its_reason(tmp_path):
    for name in ("a", "b"):
        for n in range(2):
            tone(tmp_path / name / f"{n}.wav")
    broken(tmp_path / "a" / "broken.wav")
    (tmp_path / "a" / "gone.wav").symlink_to("nowhere")
    soundfile.write(tmp_path / "b" / "empty.wav", np.empty(0), 8_000)
    soundfile.write(tmp_path / "b" / "silent.wav", np.zeros(800), 8_000)
    (tmp_path / "b" / "notes.txt").write_text("not a sound and not a word about it")
    got = load(tmp_path, 8_000)
    assert [each.name for each in got.entries] == ["a/0.wav", "a/1.wav", "b/0.wav", "b/1.wav"]
    assert [each.name for each in got.skipped] == [
        "a/broken.wav",
        "a/gone.wav",
        "b/empty.wav",
        "b/silent.wav",
    ]
    assert got.skipped[0].reason.startswith("cannot be read as sound: ")
    assert got.skipped[1:] == (
        Skipped("a/gone.wav", "does not exist"),
        Skipped("b/empty.wav", "is empty: it holds no samples"),
        Skipped("b/silent.wav", "is silent"),
    )


def test_digits_are_in_the_order_of_numbers_and_before_words(tmp_path):
    for label in ("10", "9", "-1", "b", "a", "2"):
        for n in range(2):
            tone(tmp_path / f"{label}_{'anna' if n else 'Bo'}_{n}.wav")
    got = load(tmp_path, 8_000)
    assert got.classes == ("-1", "2", "9", "10", "a", "b")
    assert got.speakers == ("Bo", "anna")


def test_a_table_of_recordings_is_loaded(tmp_path):
    for name in ("x", "y", "z", "ü"):
        tone(tmp_path / "sounds" / f"{name}.wav")
    lines = ["sounds/x.wav;a", "sounds/y.wav;a", "sounds/z.wav;b", "sounds/ü.wav;b", "no.wav;b"]
    (tmp_path / "list.csv").write_text("\n".join(lines), encoding="utf-8")
    got = load(tmp_path / "list.csv", 8_000)
    assert [each.label for each in got.entries] == ["a", "a", "b", "b"]
    assert got.skipped == (Skipped("no.wav", "does not exist"),)


def test_no_usable_recording_is_an_error_that_gives_one_reason(tmp_path):
    broken(tmp_path / "a" / "1.wav")
    broken(tmp_path / "b" / "1.wav")
    with pytest.raises(InputError, match=rf"^none of 2 files can be used: {tmp_path}/a/1\.wav c"):
        load(tmp_path, 8_000)


def test_one_class_is_an_error(tmp_path):
    for n in range(3):
        tone(tmp_path / "dog" / f"{n}.wav")
    with pytest.raises(
        InputError, match=r"^all 3 recordings of .* are of one class, 'dog'; at least"
    ):
        load(tmp_path, 8_000)


@pytest.mark.parametrize(
    ("usable", "damaged", "sentence"),
    [
        (1, 0, r"'b' of \S+ has 1 usable recording; give it two"),
        (1, 1, r"'b' of \S+ has 1 usable recording \(b/broken0\.wav cannot be read .*\); give"),
        (0, 2, r"'b' of \S+ has no usable recordings \(b/broken0\.wav cannot be read .*\); give"),
    ],
)
def test_a_class_of_less_than_two_usable_recordings_is_an_error(
    tmp_path, usable, damaged, sentence
):
    for n in range(2):
        tone(tmp_path / "a" / f"{n}.wav")
    for n in range(usable):
        tone(tmp_path / "b" / f"{n}.wav")
    for n in range(damaged):
        broken(tmp_path / "b" / f"broken{n}.wav")
    with pytest.raises(InputError, match=rf"^the class {sentence}"):
        load(tmp_path, 8_000)


def test_two_thousand_short_recordings_load_in_seconds(tmp_path):
    data = tone(tmp_path / "one.wav", seconds=0.45).read_bytes()
    (tmp_path / "all").mkdir()
    for n in range(2_000):
        (tmp_path / "all" / f"{n % 10}_ann_{n // 10}.wav").write_bytes(data)
    start = time.process_time()  # of this process alone, however busy the machine is
    assert len(load(tmp_path / "all", 16_000)) == 2_000
    assert time.process_time() - start < 3

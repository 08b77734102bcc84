"""Recordings found in each layout, in one order everywhere, or one sentence on what is wrong."""

import os
import random
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from saiki.data.skipped import Skipped
from saiki.data.sound import layouts
from saiki.data.sound.layouts import Recording, find, load
from saiki.errors import InputError


def fill(folder, *names):
    """Empty files; nothing is opened to find them."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return folder


def table(folder, text, name="list.csv", encoding="utf-8"):
    (folder / name).write_bytes(text.encode(encoding))
    return folder / name


def facts(source):
    return [(each.name, each.label, each.speaker, each.take) for each in find(source)]


def test_names_tell_label_speaker_and_take(tmp_path):
    fill(tmp_path, "7_jackson_32.wav", "0_theo_0.wav", "turn_left_Ann_3.WAV", "notes.txt")
    assert facts(tmp_path) == [
        ("0_theo_0.wav", "0", "theo", 0),
        ("7_jackson_32.wav", "7", "jackson", 32),
        ("turn_left_Ann_3.WAV", "turn_left", "Ann", 3),
    ]


def test_the_subfolder_recordings_of_a_dataset_is_found(tmp_path):
    fill(tmp_path, "recordings/7_jackson_32.wav", "README.md", "utils/beep.wav")
    path = tmp_path / "recordings/7_jackson_32.wav"
    assert find(tmp_path) == (Recording(path, "recordings/7_jackson_32.wav", "7", "jackson", 32),)


def test_the_first_folder_is_the_class_however_deep_the_file(tmp_path):
    fill(tmp_path, "dog/a.wav", "dog/more/yet/b.flac", "cat/1.OGG", "cat/2.mp3")
    assert facts(tmp_path) == [
        ("cat/1.OGG", "cat", None, None),
        ("cat/2.mp3", "cat", None, None),
        ("dog/a.wav", "dog", None, None),
        ("dog/more/yet/b.flac", "dog", None, None),
    ]


def test_every_kind_of_sound_file_is_found_and_nothing_else(tmp_path):
    sounds = [f"a/x{suffix}" for suffix in layouts.SOUNDS]
    others = ("a/x.txt", "a/x.jpg", "a/x", "a/.x.wav", "a/.git/x.wav", ".b/x.wav", "a/._x.wav")
    fill(tmp_path, *sounds, *others)
    assert [each.name for each in find(tmp_path)] == sorted(sounds)


def test_speech_commands_tell_the_speaker_and_its_noises_are_no_class(tmp_path):
    fill(tmp_path, "yes/0a7c2a8d_nohash_1.wav", "no/0a7c2a8d_nohash_0.wav", "no/mine.wav")
    fill(tmp_path, "_background_noise_/pink_noise.wav", "_silence_/a.wav")
    assert facts(tmp_path) == [
        ("_silence_/a.wav", "_silence_", None, None),
        ("no/0a7c2a8d_nohash_0.wav", "no", "0a7c2a8d", None),
        ("no/mine.wav", "no", None, None),
        ("yes/0a7c2a8d_nohash_1.wav", "yes", "0a7c2a8d", None),
    ]


def test_links_are_followed_and_those_that_go_round_are_cut(tmp_path):
    fill(tmp_path / "elsewhere", "a.wav")
    source = fill(tmp_path / "source", "cat/b.wav")
    (source / "dog").symlink_to(tmp_path / "elsewhere")
    (source / "cat" / "round").symlink_to(source)
    (source / "cat" / "self.wav").symlink_to("self.wav")
    assert [each.name for each in find(source)] == ["cat/b.wav", "cat/self.wav", "dog/a.wav"]


def test_the_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    names = [f"{label}/{n}.wav" for label in ("äh", "Zoo", "zoo_2", "日本", "a") for n in range(9)]
    fill(tmp_path, *names)
    expected = find(tmp_path)
    scandir = os.scandir

    def shuffled(folder):
        entries = list(scandir(folder))
        random.shuffle(entries)
        return entries

    monkeypatch.setattr(os, "scandir", shuffled)
    for _ in range(5):
        assert find(tmp_path) == expected
    assert [each.name for each in expected] == sorted(names)


def test_accents_sort_and_read_alike_however_the_file_system_stores_them(tmp_path):
    names = ["zebra/1.wav", "été/1.wav", "ete/1.wav"]
    composed = fill(tmp_path / "nfc", *(unicodedata.normalize("NFC", name) for name in names))
    taken_apart = fill(tmp_path / "nfd", *(unicodedata.normalize("NFD", name) for name in names))
    labels = [each.label for each in find(composed)]
    assert labels == [each.label for each in find(taken_apart)] == ["ete", "zebra", "été"]


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.wav,dog\nb/c.wav,cat\n",
        "﻿path;label\r\na.wav;dog\r\nb/c.wav;cat\r\n",
        "Label\tsplit\tFile\ndog\ttrain\ta.wav\ncat\ttest\tb/c.wav\n",
        "filename,class,remark\na.wav,dog,loud; very\nb/c.wav,cat,\n",
    ],
)
def test_a_table_is_read_with_any_delimiter_and_with_or_without_header(tmp_path, text):
    recordings = find(table(tmp_path, text))
    assert [(each.name, each.label, each.speaker) for each in recordings] == [
        ("a.wav", "dog", None),
        ("b/c.wav", "cat", None),
    ]
    assert [each.path for each in recordings] == [tmp_path / "a.wav", tmp_path / "b/c.wav"]


def test_a_table_may_tell_the_speaker_and_hold_delimiters_in_its_cells(tmp_path):
    text = "path;label;speaker\na,b.wav;dog;Ann\n日本.wav;cat; \n"
    assert facts(table(tmp_path, text, "list.tsv")) == [
        ("a,b.wav", "dog", "Ann", None),
        ("日本.wav", "cat", None, None),
    ]
    assert facts(table(tmp_path, "a.wav,dog,Ann\nb.wav,cat,Bo\n"))[0] == (
        "a.wav",
        "dog",
        "Ann",
        None,
    )


def test_a_table_may_name_files_anywhere(tmp_path):
    fill(tmp_path, "deep/er/list.csv")
    text = f"../../x.wav,dog\n{tmp_path}/y.wav,cat\n"
    assert {each.path for each in find(table(tmp_path / "deep/er", text))} == {
        tmp_path / "x.wav",
        tmp_path / "y.wav",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("path,label\n", "names no recordings below its header"),
        ("path,label\na.wav,dog\n\nb.wav, \n", "has no label in line 4"),
        ("path,label\n,dog\n", "has no path in line 2"),
        ("sound,emotion\na.wav,joy\n", "begins with 'sound', which is no sound file; name its"),
        ("a.wav,dog\nb.wav,cat\n./a.wav,cat\n", "lists ./a.wav twice, in lines 1 and 3"),
        ("a.wav,Dog\nb.wav,dog\n", "spells one class in two ways, 'Dog' and 'dog'; give it one"),
    ],
)
def test_a_table_that_cannot_be_used_is_told_in_a_sentence(tmp_path, text, reason):
    path = table(tmp_path, text)
    with pytest.raises(InputError, match=rf"^{path} {reason}") as caught:
        find(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], r"holds no sound: no file in it is named \*\.wav or \*\.flac"),
        (["a/notes.txt", ".b/c.wav"], "holds no sound"),
        (["a.wav", "7_theo_1.wav"], r"does not tell the class of a\.wav; put the sound files"),
        (
            ["7_theo_1.wav", "a/b.wav"],
            r"both in its folders and beside them, such as 7_theo_1\.wav",
        ),
        (["Dog/a.wav", "dog/b.wav"], "spells one class in two ways, 'Dog' and 'dog'; give it one"),
        (["dog/a.wav", "dog /b.wav"], r"'dog' and 'dog ' \(they differ only in space"),
        (["big dog/a.wav", "big  Dog/b.wav"], "spells one class in two ways"),
        (["\u00e9/a.wav", "e\u0301/b.wav"], "they differ only in space or in how an accent"),
        (["dog_ann_1.wav", "Dog_ann_2.wav"], "spells one class in two ways, 'Dog' and 'dog'"),
    ],
)
def test_a_folder_that_cannot_be_used_is_told_in_a_sentence(tmp_path, names, reason):
    fill(tmp_path, *names)
    with pytest.raises(InputError, match=rf"^{tmp_path} .*{reason}") as caught:
        find(tmp_path)
    assert "\n" not in str(caught.value)


def test_words_that_differ_in_more_than_case_stay_two_classes(tmp_path):
    fill(tmp_path, "Maße/a.wav", "Masse/b.wav", "ete/c.wav", "été/d.wav")
    assert len({each.label for each in find(tmp_path)}) == 4


def test_a_source_of_no_known_kind_is_told(tmp_path):
    fill(tmp_path, "a.wav")
    with pytest.raises(InputError, match=r"a\.wav is neither a folder of recordings nor a table"):
        find(tmp_path / "a.wav")
    with pytest.raises(InputError, match=r"^nowhere does not exist$"):
        find(Path("nowhere"))


def test_names_that_are_no_text_can_be_printed(tmp_path):
    fill(tmp_path, "\udce4/\udce4.wav")
    (recording,) = find(tmp_path)
    (recording.name + recording.label).encode("utf-8")
    assert recording.path.exists()


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

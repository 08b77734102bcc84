"""What the words after a run folder stand for."""

import json

import numpy as np
import pytest
import soundfile

from saiki.data.images.folder import IMAGE
from saiki.data.sound.layouts import SOUND
from saiki.data.text.dialogues import DIALOGUE
from saiki.data.text.plain_text import LINE
from saiki.errors import InputError
from saiki.input_kind import TEXT
from tiny import square, tones


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts" / "deep").mkdir(parents=True)
    (tmp_path / "texts" / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "texts" / "deep" / "b.txt").write_text("three\n")
    return tmp_path


def test_a_file_or_folder_of_lines_stands_for_them(folder):
    assert [*LINE.expand("texts")] == ["one", "two", "three"]
    assert [*LINE.expand("texts/a.txt")] == ["one", "two"]
    assert [*LINE.expand("one and two")] == ["one and two"]


def test_dialogues_come_a_turn_a_line(folder):
    talk = folder / "talk.jsonl"
    talk.write_text("".join(f"{json.dumps(turns)}\n" for turns in (["a", "b"], ["c", "d"])))
    assert [*DIALOGUE.expand("talk.jsonl")] == ["a\nb", "c\nd"]
    assert [*DIALOGUE.expand("hello")] == ["hello"]


def test_of_sounds_and_images_folders_alone_stand_for_others(folder):
    assert [*SOUND.expand(str(tones(folder, takes=1)))] == [
        str(folder / "tones" / label / "0.wav") for label in ("high", "low")
    ]
    assert [*SOUND.expand("tones/low/0.wav")] == ["tones/low/0.wav"]
    image = square(folder)
    images = [*IMAGE.expand(str(folder / "squares"))]
    assert len(images) == 16
    assert images[0] == image
    assert [*IMAGE.expand(image)] == [image]


def test_a_text_stands_as_it_is_whatever_it_is_called(folder):
    for word in ("texts", "texts/a.txt", "no/such.csv", "37 + 58"):
        TEXT.check(word)
        assert [*TEXT.expand(word)] == [word]


@pytest.mark.parametrize("word", ["missing.txt", "./x", "texts/none", "~/x", "C:\\x", "new/"])
def test_where_files_stand_for_lines_a_missing_one_is_no_text(word, folder):
    for kind in (LINE, DIALOGUE):
        with pytest.raises(InputError, match=r"there is no file .*; if it is meant as a text"):
            kind.check(word)
    for kind in (SOUND, IMAGE, TEXT):
        kind.check(word)  # whose readers say what is missing


def test_a_text_is_no_file_for_a_stroke_or_a_point_in_it(folder):
    for word in ("either/or", "What is 3.5?", "a text.", "x" * 5000, "a\0b", ""):
        LINE.check(word)
        assert [*LINE.expand(word)] == [word]


def test_what_is_recorded_is_a_file(folder, monkeypatch):
    wave, calls = np.sin(np.arange(300) / 9).astype(np.float32) / 2, []
    monkeypatch.setattr(
        "saiki.data.sound.files.record", lambda *arguments: calls.append(arguments) or wave
    )
    SOUND.record(1.5, folder / "heard.wav")
    wave, rate = soundfile.read(folder / "heard.wav")
    assert (calls, rate) == ([(1.5, 16_000)], 16_000)
    np.testing.assert_allclose(wave, wave, atol=1e-4)
    assert [kind.name for kind in (TEXT, LINE, DIALOGUE, IMAGE) if kind.record] == []

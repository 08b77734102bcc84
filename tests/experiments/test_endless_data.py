"""Each exercise, given data that never end: one sentence, at once, and no memory for it."""

import gzip
import json
import os
import resource
import time
from pathlib import Path

import pytest

from commands import saiki
from saiki.data.images.files import ENDINGS as IMAGES
from saiki.data.sound.layouts import SOUNDS
from tiny import TINY

pytestmark = pytest.mark.one_in(5)

ROOM = 256 << 10
"""KiB that a refusal may take beside what the process had."""
SECONDS = 20
"""That it may take on a machine that is busy; of itself it is one."""


def refused(*words):
    """The sentence with which a command ends that must take neither long nor much memory."""
    start, had = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    code, _, err = saiki(*words)
    assert code == 2, (code, err)
    assert len(err) == 1, err
    assert time.monotonic() - start < SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - had < ROOM
    return err[0]


def named_like_data(name, folder):
    """A path that the data of an exercise may have."""
    made = TINY[name].data(folder)
    return folder / f"endless{made.suffix}"


def pipe(path):
    os.mkfifo(path)
    return path


def device(path):
    path.symlink_to("/dev/zero")
    return path


def line(path):
    with path.open("wb") as file:
        file.write(b"a")
        file.truncate(10**9)
    return path


def packed(path):
    path = path.with_name(f"{path.name}.gz")
    with gzip.open(path, "wb") as file:
        for _ in range(100):
            file.write(bytes(1 << 20))
    return path


def folders(path):
    """Each of which has a pipe in it and leads to all others."""
    top, names = path.with_name("folders"), [f"f{i}" for i in range(12)]
    for name in names:
        (top / name).mkdir(parents=True)
        for ending in (path.suffix or ".none", ".txt", IMAGES[0], SOUNDS[0], ".jsonl"):
            if not (top / name / f"a{ending}").exists():
                os.mkfifo(top / name / f"a{ending}")
        for other in names:
            (top / name / f"to-{other}").symlink_to(top / other)
    return top


@pytest.mark.parametrize("endless", [pipe, device, line, packed, folders])
@pytest.mark.parametrize("name", [name for name, tiny in TINY.items() if tiny.data])
def test_data_that_never_end_are_refused(name, endless, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = endless(named_like_data(name, tmp_path))
    message = refused("run", name, *TINY[name].flags(tmp_path, data=path, out=tmp_path / "out"))
    assert str(path) in message
    if endless is pipe and TINY[name].data(tmp_path).is_file():
        assert "it is a pipe" in message


@pytest.mark.parametrize(
    ("name", "knob"),
    [("sentences", "vectors"), ("words", "start_from"), ("dialogue", "vectors"),
     ("proofread", "other"), ("augment", "image")],
)  # fmt: skip
@pytest.mark.parametrize("endless", [pipe, device, packed])
def test_what_else_is_read_is_refused_too(name, knob, endless, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = endless(tmp_path / "endless.txt")
    flags = TINY[name].flags(tmp_path, out=tmp_path / "out", **{knob: path})
    assert str(path) in refused("run", name, *flags)


def test_a_run_folder_is_no_way_in_either(tmp_path):
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        config = {"experiment": "adder", "preset": None, "knobs": {}}
        (tmp_path / run / "config.json").write_text(json.dumps(config))
        (tmp_path / run / "result.json").write_text('{"loss": 1.0, "stopped": null}')
        pipe(tmp_path / run / "metrics.jsonl")
    assert "metrics.jsonl" in refused("compare", tmp_path / "a", tmp_path / "b")


def test_nor_is_a_folder_to_augment(tmp_path):
    top = folders(Path(tmp_path / "a.png"))
    message = refused(
        "data", "augment", top, "--out", tmp_path / "out", "--copies", "1", "--noise", "1"
    )
    assert "a.png cannot be read: it is a pipe" in message

"""The run folder: files that are whole or absent, numbers that no two runs share."""

import json
import math
import threading
from pathlib import Path

import pytest

from saiki.errors import InputError, SaikiError
from saiki.files import locked
from saiki.runs.folder import RunFolder


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def below_a_file(tmp_path):
    """A place where nothing can be written, not even by root."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "below"


def test_runs_are_numbered_from_1():
    made = [RunFolder.create("adder").path for _ in range(3)]
    assert made == [Path(f"runs/adder/{n}") for n in (1, 2, 3)]
    assert all(path.is_dir() for path in made)


def test_the_number_follows_the_largest_there_is_and_not_the_count():
    Path("runs/adder/9").mkdir(parents=True)
    Path("runs/adder/notes").mkdir()
    assert RunFolder.create("adder").path == Path("runs/adder/10")


def test_runs_that_begin_at_once_get_different_numbers():
    paths, gate = [], threading.Barrier(8)

    def create():
        gate.wait()
        paths.extend(RunFolder.create("adder").path for _ in range(5))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(int(path.name) for path in paths) == list(range(1, 41))


def test_a_number_taken_in_the_meantime_is_skipped(monkeypatch):
    # the other run makes its folder between our look at the numbers and our own mkdir
    mkdir = Path.mkdir

    def meanwhile(path, *arguments, **keywords):
        if path == Path("runs/adder/1"):
            mkdir(path, exist_ok=True)
        return mkdir(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "mkdir", meanwhile)
    assert RunFolder.create("adder").path == Path("runs/adder/2")


def test_an_out_folder_with_anything_in_it_is_refused_and_untouched(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="mine is not empty; choose another --out"):
        RunFolder.create("adder", tmp_path / "mine")
    assert names(tmp_path / "mine") == ["thesis.txt"]
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_an_empty_or_missing_out_folder_is_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "empty", tmp_path / "deep" / "er"):
        assert RunFolder.create("adder", out).path == out
        assert out.is_dir()
    assert not Path("runs").exists()


@pytest.mark.parametrize("deeper", ["", "more"])
def test_an_out_folder_that_cannot_be_made_is_told_in_a_sentence(tmp_path, deeper):
    out = below_a_file(tmp_path) / deeper if deeper else below_a_file(tmp_path).parent
    with pytest.raises(SaikiError, match=rf"^cannot make the folder {out}: "):
        RunFolder.create("adder", out)


def test_numbered_runs_that_cannot_be_made_are_told_in_a_sentence():
    Path("runs").write_text("")
    with pytest.raises(SaikiError, match=r"^cannot make the folder runs: "):
        RunFolder.create("adder")


def test_a_log_that_cannot_be_written_is_told_in_a_sentence(tmp_path):
    folder = RunFolder(below_a_file(tmp_path))
    with pytest.raises(SaikiError, match=r"^cannot write .*metrics\.jsonl: "):
        folder.append("metrics.jsonl", {"step": 1})


def strict(text):
    """As other languages read it: without the names NaN and Infinity, which JSON lacks."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_letters_of_every_script_stay_readable_in_the_file(tmp_path):
    RunFolder(tmp_path).write_result({"文": 2, "stopped": "再帰"})
    assert "再帰" in (tmp_path / "result.json").read_text(encoding="utf-8")
    assert RunFolder(tmp_path).result == {"文": 2, "stopped": "再帰"}


def test_log_lines_come_back_in_order_and_nan_as_null(tmp_path):
    folder = RunFolder(tmp_path)
    assert list(folder.lines("metrics.jsonl")) == []
    folder.append("metrics.jsonl", {"step": 1, "loss": math.nan})
    folder.append("metrics.jsonl", {"step": 2, "loss": 0.5})
    text = (tmp_path / "metrics.jsonl").read_text()
    assert [strict(line) for line in text.splitlines()] == list(folder.lines("metrics.jsonl"))
    assert list(folder.lines("metrics.jsonl")) == [
        {"step": 1, "loss": None},
        {"step": 2, "loss": 0.5},
    ]


def test_a_damaged_log_line_is_named(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "lo\n')
    with pytest.raises(InputError, match=r"metrics\.jsonl is damaged at line 2$"):
        list(RunFolder(tmp_path).lines("metrics.jsonl"))


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"5\n"], ids=["not text", "not an object"])
def test_a_log_line_that_is_no_object_is_named(tmp_path, content):
    (tmp_path / "metrics.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"metrics\.jsonl"):
        list(RunFolder(tmp_path).lines("metrics.jsonl"))


def test_a_folder_without_config_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"is not a run folder: it holds no config\.json"):
        RunFolder.open(tmp_path)


def run_with_link(name, target):
    """A run folder in which one name is a link to something that is not in it."""
    folder = RunFolder.create("adder", Path("run"))
    folder.begin("adder", None, {}, "saiki run adder")
    (folder.path / name).parent.mkdir(exist_ok=True)
    (folder.path / name).symlink_to(target.absolute())
    return folder


@pytest.mark.parametrize(
    "name",
    [".lock", "checkpoint", "checkpoint/training.safetensors", "metrics.jsonl", "a/tensorboard"],
)
@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_written_through_a_link(name, there):
    outside = Path("outside")
    if there:
        outside.mkdir()
    folder = run_with_link(name, outside / "new" if there else outside)
    message = f"^run/{name} is a link, and a run folder holds what is its own; put what it leads"
    with pytest.raises(InputError, match=message), folder.locked():
        pass
    with pytest.raises(InputError, match=message):
        folder.extend({"iterations": 3})
    with pytest.raises(InputError, match=message):
        RunFolder.resume("adder", Path("run"))
    assert (outside.exists(), there and names(outside)) == (there, there and [])


def test_a_lock_that_is_a_link_is_not_taken(tmp_path):
    (tmp_path / "lock").symlink_to(tmp_path / "outside")
    with pytest.raises(SaikiError, match=r"^cannot write .*lock: "), locked(tmp_path / "lock"):
        pass
    assert names(tmp_path) == ["lock"]


def test_answers_are_not_written_through_a_link():
    Path("outside").mkdir()
    folder = run_with_link("predictions", Path("outside"))
    with pytest.raises(InputError, match=r"^run/predictions is a link"):
        _ = folder.of_answers
    (folder.path / "predictions").unlink()
    assert folder.of_answers == folder.path / "predictions"


def test_a_run_may_lie_behind_a_link():
    Path("disk").mkdir()
    Path("run").symlink_to("disk")
    folder = RunFolder.create("adder", Path("run"))
    with folder.locked():
        folder.begin("adder", None, {}, "saiki run adder")
    assert names(Path("disk")) == ["config.json"]

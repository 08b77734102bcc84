"""Files that are whole or absent, and JSON that every reader accepts."""

import json
import math

import pytest

from saiki.errors import InputError, SaikiError
from saiki.files import to_json, write
from saiki.inputs import read_json


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def below_a_file(tmp_path):
    """A place where nothing can be written, not even by root."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "below"


def test_a_writer_that_fails_halfway_leaves_the_old_file_and_nothing_else(tmp_path):
    def fails(path):
        path.write_text("new, but only ha")
        raise RuntimeError("the power went")

    write(tmp_path / "figures.txt", lambda path: path.write_text("old"))
    with pytest.raises(RuntimeError, match="the power went"):
        write(tmp_path / "figures.txt", fails)
    assert names(tmp_path) == ["figures.txt"]
    assert (tmp_path / "figures.txt").read_text() == "old"


def test_a_writer_that_fails_at_first_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write(tmp_path / "new.txt", lambda _: 1 / 0)
    assert names(tmp_path) == []


def test_the_file_appears_under_its_name_only_once_it_is_whole(tmp_path):
    seen = []

    def save(path):
        path.write_text("whole")
        seen.append((tmp_path / "late.txt").exists())

    assert write(tmp_path / "late.txt", save).read_text() == "whole"
    assert seen == [False]


def test_a_written_file_has_the_permissions_of_any_new_file(tmp_path):
    # a temporary file is for its owner alone, and colleagues should be able to read a run
    (tmp_path / "plain").write_text("")
    write(tmp_path / "ours", lambda path: path.write_text(""))
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_what_cannot_be_written_is_told_in_a_sentence(tmp_path):
    path = below_a_file(tmp_path) / "result.json"
    with pytest.raises(SaikiError, match=rf"^cannot write {path}: \w+"):
        write(path, lambda temporary: temporary.write_text(""))


def strict(text):
    """As other languages read it: without the names NaN and Infinity, which JSON lacks."""

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_what_is_not_finite_becomes_null_at_any_depth():
    value = {"a": math.nan, "b": [1.5, -math.inf, {"c": (math.inf, 2)}], "d": "NaN", "e": True}
    wanted = {"a": None, "b": [1.5, None, {"c": [None, 2]}], "d": "NaN", "e": True}
    assert strict(to_json(value)) == wanted


def test_floats_come_back_bit_by_bit():
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0]
    assert [v.hex() for v in strict(to_json(values))] == [v.hex() for v in values]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        (b"", "cannot be read as JSON"),
        (b'{"step": ', "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"[1, 2]", "must hold a JSON object"),
    ],
)
def test_a_missing_or_damaged_json_file_is_told_in_a_sentence(tmp_path, content, reason):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^{path} {reason}"):
        read_json(path)

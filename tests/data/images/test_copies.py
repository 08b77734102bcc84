"""Augmented copies of a folder of images, and the table beside them."""

import csv
import io
import os
import shutil

import pytest
import torch

from data.images.pictures import classes, noise, pattern
from saiki.data.images import copies
from saiki.data.images.augmentation import Augmentation, read_policy
from saiki.data.images.augmenter import Augmenter
from saiki.data.images.changes import TABLE, read_table
from saiki.data.images.copies import write_copies
from saiki.data.images.files import read_image
from saiki.data.images.folder import read_parts
from saiki.errors import InputError, SaikiError

POLICY = Augmentation(flip_horizontal=0.5, rotation=15.0, hue=0.2, crop=0.3)


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def test_each_image_has_its_copies_and_the_table_says_what_was_done(tmp_path):
    source, out = classes(tmp_path / "mine", ("猫", "dog"), count=3), tmp_path / "more" / "out"
    (source / "notes.txt").write_text("x")
    pattern().convert("L").save(source / "dog" / "grey.png")
    assert write_copies(source, out, POLICY, 2, 5) == (7 * 3, [])
    made = files(out)
    assert "notes.txt" not in made
    assert made["猫/1.png"] == (source / "猫" / "1.png").read_bytes()
    assert read_policy(out / "policy.json") == (POLICY, 5)
    text = (out / TABLE).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["file"] for row in rows} == made.keys() - {TABLE, "policy.json"}
    for row in rows:
        if row["copy"] == "0":
            assert row["file"] == row["source"]
            assert not any(list(row.values())[4:])
            continue
        assert row["file"] == f"{row['source']}-{row['copy']}.png"
        changes = POLICY.draw(5, int(row["sha256"][:16], 16), int(row["copy"]))
        assert row["hue"] == f"{changes.hue:.6g}"
        assert row["flip_horizontal"] == ("True" if changes.flip_horizontal else "")
        channels = 1 if "grey" in row["file"] else 3
        before = read_image(source / row["source"], channels)
        assert torch.equal(
            read_image(out / row["file"], channels), Augmenter.changed(before, changes)
        )


def test_the_same_seed_makes_the_same_files_and_other_files_change_none(tmp_path):
    source = classes(tmp_path / "mine", count=2)
    write_copies(source, tmp_path / "a", POLICY, 1, 0)
    write_copies(source, tmp_path / "b", POLICY, 1, 1)
    noise(999).save(source / "cat" / "0a.png")
    write_copies(source, tmp_path / "c", POLICY, 1, 0)
    a, b, c = (files(tmp_path / name) for name in "abc")
    name = "dog/1.png-1.png"
    assert a[name] == c[name] != b[name]


def test_it_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    source = classes(tmp_path / "mine")
    (source / "dog" / "9.png").write_bytes(b"no")
    with pytest.raises(InputError, match=r"dog/9\.png is no image"):
        write_copies(source, tmp_path / "out", POLICY, 1, 0, strict=True)
    (source / "dog" / "9.png").unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(copies.shutil, "copyfile", full)
    with pytest.raises(SaikiError, match=r"cannot write .*out: No space left on device"):
        write_copies(source, tmp_path / "out", POLICY, 1, 0)
    monkeypatch.undo()
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match=r"there exists already; choose another --out"):
        write_copies(source, tmp_path / "there", POLICY, 1, 0)
    with pytest.raises(InputError, match="is no folder of images"):
        write_copies(tmp_path / "nothing", tmp_path / "out", POLICY, 1, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "there"]


def test_what_cannot_be_read_is_left_out_and_named(tmp_path):
    source = classes(tmp_path / "mine")
    (source / "dog" / "9.png").write_bytes(b"no")
    written, [skipped] = write_copies(source, tmp_path / "out", POLICY, 1, 0)
    assert written == 16
    reason = "is no image that can be read; save it as PNG or JPEG, or take it away"
    assert (skipped.name, skipped.reason) == ("dog/9.png", reason)
    assert not [*(tmp_path / "out").rglob("9.png*")]


def test_copies_are_learned_from_where_their_source_is_and_never_tested(tmp_path):
    source = classes(tmp_path / "mine", count=10)
    plain = read_parts(source)
    write_copies(source, tmp_path / "out", POLICY, 2, 0)
    parts = read_parts(tmp_path / "out")
    assert set(parts.test.names) == set(plain.test.names)
    assert set(parts.validation.names) == set(plain.validation.names)
    copied = {f"{name}-{n}.png" for name in plain.train.names for n in (1, 2)}
    assert set(parts.train.names) == {*plain.train.names, *copied}


def test_copies_are_never_tested_where_folders_say_the_parts(tmp_path):
    for part in ("train", "validation", "test"):
        classes(tmp_path / "mine" / part, count=4)
    for parts_there in (("train", "validation", "test"), ("train", "test")):
        out = tmp_path / f"with {len(parts_there)}"
        plain = read_parts(tmp_path / "mine")
        write_copies(tmp_path / "mine", out, POLICY, 2, 0)
        parts = read_parts(out)
        copied = {f"{name}-{n}.png" for name in plain.train.names for n in (1, 2)}
        assert set(parts.train.names) == {*plain.train.names, *copied}
        assert parts.validation.names == plain.validation.names
        assert parts.test.names == plain.test.names
        shutil.rmtree(tmp_path / "mine" / "validation", ignore_errors=True)


def test_what_is_augmented_already_or_called_like_a_copy_is_not_augmented(tmp_path):
    source = classes(tmp_path / "mine")
    write_copies(source, tmp_path / "once", POLICY, 1, 0)
    with pytest.raises(InputError, match="once is augmented already; augment the folder it was"):
        write_copies(tmp_path / "once", tmp_path / "twice", POLICY, 1, 0)
    noise(7).save(source / "cat" / "2.png-1.png")
    with pytest.raises(
        InputError, match=r"cat/2\.png would be called cat/2\.png-1\.png, as another"
    ):
        write_copies(source, tmp_path / "twice", POLICY, 1, 0)
    assert not (tmp_path / "twice").exists()


@pytest.mark.skipif(os.name != "posix", reason="names are text there")
def test_a_name_that_is_no_text_is_written_and_found_again(tmp_path):
    source = classes(tmp_path / "mine", count=10)
    name = os.fsdecode(b"\xff.png")
    try:
        noise(7).save(source / "cat" / name)
    except OSError:
        pytest.skip("this file system has no such names")
    write_copies(source, tmp_path / "out", POLICY, 1, 0)
    parts = read_parts(tmp_path / "out")
    assert len(parts.validation) == len(parts.test) == 4
    assert len(parts.train) == 2 * (21 - 8)


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "file,source,sha256,copy\na,b,c,x\n", "file\n"])
def test_a_table_of_something_else_is_told(tmp_path, text):
    assert read_table(tmp_path) == {}
    (tmp_path / TABLE).write_text(text)
    with pytest.raises(InputError, match=r"augmented\.csv is not a table as saiki data augment"):
        read_parts(classes(tmp_path))

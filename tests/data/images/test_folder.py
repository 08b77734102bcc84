"""Folders of images, and how they are parted."""

import shutil

import pytest
import torch
from PIL import Image

from data.images.pictures import classes, noise, pattern
from saiki.data.images import labelled
from saiki.data.images.folder import find, read_parts
from saiki.errors import InputError


def names(parts):
    return [set(each.names) for each in (parts.train, parts.validation, parts.test)]


def test_each_subfolder_is_a_class_and_other_files_are_passed_over(tmp_path):
    classes(tmp_path, ("猫", "10", "9"), count=10)
    (tmp_path / "README.txt").write_text("two kinds")
    (tmp_path / "9" / "notes.txt").write_text("x")
    (tmp_path / "9" / ".hidden.png").write_bytes(b"x")
    (tmp_path / ".cache").mkdir()
    noise(7).save(tmp_path / "猫" / "写真.PNG")
    (tmp_path / "9" / "deeper").mkdir()
    noise(8).save(tmp_path / "9" / "deeper" / "A.JPG", quality=95)
    parts = read_parts(tmp_path)
    assert parts.train.classes == ("9", "10", "猫")
    all_names = set.union(*names(parts))
    assert len(all_names) == 32
    assert {"猫/写真.PNG", "9/deeper/A.JPG", "10/3.png"} <= all_names
    for each in (parts.train, parts.validation, parts.test):
        for name, label in zip(each.names, each.labels.tolist(), strict=True):
            assert name.split("/")[0] == parts.train.classes[label]
        assert each.pixels.shape[1:] == (3, 8, 8)
    sizes = [torch.bincount(each.labels).tolist() for each in (parts.validation, parts.test)]
    assert sizes == [[2, 2, 2]] * 2


def test_copies_of_a_file_never_lie_on_both_sides(tmp_path):
    classes(tmp_path, count=12)
    for name in ("cat", "dog"):
        for i in range(12):
            shutil.copy(tmp_path / name / f"{i}.png", tmp_path / name / f"copy of {i}.png")
    shutil.copy(tmp_path / "cat" / "0.png", tmp_path / "dog" / "the cat.png")
    for part in names(read_parts(tmp_path)):
        plain = {name.replace("copy of ", "") for name in part}
        assert part == plain | {f"{n.split('/')[0]}/copy of {n.split('/')[1]}" for n in plain
                                if n != "dog/the cat.png"}  # fmt: skip
        assert ("dog/the cat.png" in part) == ("cat/0.png" in part)


def test_the_parts_do_not_depend_on_names_or_time_and_more_files_move_few(tmp_path):
    before = names(read_parts(classes(tmp_path / "a", count=40)))
    copied = names(read_parts(shutil.copytree(tmp_path / "a", tmp_path / "b")))
    assert before == copied
    classes(tmp_path / "a", count=42)
    after = names(read_parts(tmp_path / "a"))
    assert sum(len(old - new) for old, new in zip(before, after, strict=True)) <= 4


def test_folders_may_say_the_parts_themselves(tmp_path):
    for part, count in (("Train", 6), ("val", 3), ("test", 4)):
        classes(tmp_path / part.lower(), count=count)
    parts = read_parts(tmp_path)
    assert parts.train.classes == ("cat", "dog")
    assert [len(each) for each in (parts.train, parts.validation, parts.test)] == [12, 6, 8]
    shutil.rmtree(tmp_path / "val")
    parts = read_parts(tmp_path)
    assert [len(each) for each in (parts.train, parts.validation, parts.test)] == [10, 2, 8]
    assert {name.split("/")[0] for name in parts.validation.names} == {"train"}
    shutil.rmtree(tmp_path / "train" / "dog")
    with pytest.raises(InputError, match="has no image of the class 'dog' to learn from"):
        read_parts(tmp_path)


def test_images_in_the_folder_itself_are_of_one_class(tmp_path):
    folder = tmp_path / "holidays"
    folder.mkdir()
    for i in range(4):
        noise(i).save(folder / f"{i}.png")
    parts = read_parts(folder)
    assert parts.train.classes == ("holidays",)
    assert [len(each) for each in (parts.train, parts.validation, parts.test)] == [2, 1, 1]


def test_images_of_several_sizes_need_one(tmp_path):
    classes(tmp_path, count=5)
    pattern(24, 32).save(tmp_path / "dog" / "9.png")
    with pytest.raises(InputError, match=r"cat/0.png and dog/9.png of .* 8 × 8 and 32 × 24 pixels"):
        read_parts(tmp_path)
    assert read_parts(tmp_path, side=6).train.pixels.shape[1:] == (3, 6, 6)


def test_images_are_grey_if_all_of_them_are(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(4):
            grey = noise(len(name) * ord(name[0]) + i, mode="L")
            (grey.convert("RGB") if i % 2 else grey).save(tmp_path / name / f"{i}.png")
    assert read_parts(tmp_path).train.pixels.shape[1:] == (1, 8, 8)
    assert read_parts(tmp_path, colours=3).train.pixels.shape[1:] == (3, 8, 8)
    noise(99).save(tmp_path / "dog" / "colour.png")
    parts = read_parts(tmp_path)
    assert parts.train.pixels.shape[1:] == (3, 8, 8)
    assert read_parts(tmp_path, colours=1).train.pixels.shape[1:] == (1, 8, 8)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda f: shutil.rmtree(f / "cat") or shutil.rmtree(f / "dog"), "holds no images"),
        (lambda f: noise(1).save(f / "a.png"), "both in its folders and beside them, such as a.pn"),
        (lambda f: [path.write_text("no") for path in f.rglob("*.png")],
         r"none of 8 files can be used: .*cat/0\.png is no image that can be read"),
        (lambda f: [path.write_text("no") for path in f.glob("dog/*.png")],
         "has no image of the class 'dog' to learn from"),
        (lambda f: [(f / "dog" / f"{i}.png").unlink() for i in (0, 1, 2)], "'dog' of .* has 1"),
        (lambda f: [shutil.copy(f / "dog" / "0.png", f / "dog" / f"{i}.png") for i in (1, 2, 3)],
         "the class 'dog' of .* has 1 different image; it needs 3 at least"),
        (lambda f: classes(f, ("Cat",)), "spells one class in two ways, 'Cat' and 'cat'"),
        (lambda f: classes(f, ("が", "か\u3099")), "they differ only in space or in how an accent"),
    ],
)  # fmt: skip
def test_a_folder_of_no_use_is_told_in_one_sentence(tmp_path, spoil, what):
    spoil(classes(tmp_path))
    with pytest.raises(InputError, match=what) as caught:
        read_parts(tmp_path)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_is_left_out_and_named_or_refused_where_that_is_strict(tmp_path):
    whole = read_parts(classes(tmp_path))
    assert whole.skipped == ()
    (tmp_path / "dog" / "7.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "dog" / "8.png").write_bytes(b"")
    (tmp_path / "dog" / "9.png").write_bytes((tmp_path / "dog" / "0.png").read_bytes()[:90])
    parts = read_parts(tmp_path)
    for name in ("train", "validation", "test"):
        ours, theirs = getattr(parts, name), getattr(whole, name)
        assert torch.equal(ours.pixels, theirs.pixels)
        assert ours.names == theirs.names
    assert [(each.name, each.reason) for each in parts.skipped] == [
        ("dog/7.heic", "is no image that can be read; save it as PNG or JPEG, or take it away"),
        ("dog/8.png", "is empty; save it as PNG or JPEG, or take it away"),
        ("dog/9.png", "is cut short or damaged; get it anew, or take it away"),
    ]
    with pytest.raises(InputError, match=r"dog/7\.heic is no image that can be read"):
        read_parts(tmp_path, strict=True)


def test_images_that_together_are_too_large_are_refused_at_the_first(tmp_path, monkeypatch):
    classes(tmp_path)
    monkeypatch.setattr(labelled, "MOST_BYTES", 8 * 8 * 3 * 8 - 1)
    with pytest.raises(InputError, match=r"8 images of 8 × 8 pixels.*choose a smaller --side"):
        read_parts(tmp_path)
    assert len(read_parts(tmp_path, side=4).train) == 4


def test_a_file_is_no_folder_and_links_that_go_round_are_cut(tmp_path):
    Image.new("1", (2, 2)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png is no folder of images"):
        find(tmp_path / "a.png")
    (tmp_path / "self").symlink_to(tmp_path)
    assert [image.name for image in find(tmp_path)] == ["a.png"]

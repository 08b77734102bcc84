"""Files like those of MNIST."""

import bz2
import gzip
import lzma
import struct

import numpy as np
import pytest
import torch

from saiki.data.images import labelled
from saiki.data.images.idx import FASHION, is_in, read_idx, read_parts
from saiki.errors import InputError


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + (
        array.astype(np.uint8).tobytes()
    )  # fmt: skip


def four(folder, learned=24, tested=5, end="-idx{}-ubyte", side=6, classes=3):
    """The four files of a small data set."""
    random, made = np.random.default_rng(0), {}
    folder.mkdir(exist_ok=True)
    for part, count in (("train", learned), ("t10k", tested)):
        made[part] = random.integers(0, 256, (count, side, side)), np.arange(count) % classes
        for kind, array in zip(("images", "labels"), made[part], strict=True):
            name = f"{part}-{kind}{end.format(array.ndim)}"
            body = idx(array)
            (folder / name).write_bytes(gzip.compress(body) if name.endswith("gz") else body)
    return made


@pytest.mark.parametrize("end", ["-idx{}-ubyte", "-idx{}-ubyte.gz", ".idx{}-ubyte"])
def test_four_files_are_three_parts(tmp_path, end):
    made = four(tmp_path, end=end)
    assert is_in(tmp_path)
    parts = read_parts(tmp_path)
    assert [len(each) for each in (parts.train, parts.validation, parts.test)] == [22, 2, 5]
    assert np.array_equal(parts.train.pixels[:, 0], made["train"][0][:22])
    assert np.array_equal(parts.validation.pixels[:, 0], made["train"][0][22:])
    assert np.array_equal(parts.test.pixels[:, 0], made["t10k"][0])
    assert parts.test.labels.tolist() == made["t10k"][1].tolist()
    assert parts.test.labels.dtype == torch.int64
    assert parts.train.classes == ("0", "1", "2")


def test_images_are_fitted_and_classes_named(tmp_path):
    four(tmp_path)
    parts = read_parts(tmp_path, FASHION, side=3, colours=3)
    assert parts.train.pixels.shape == (22, 3, 3, 3)
    assert parts.test.classes[9] == "Ankle boot"


def test_a_side_that_would_take_too_much_memory_is_refused(tmp_path, monkeypatch):
    four(tmp_path)
    monkeypatch.setattr(labelled, "MOST_BYTES", 24 * 8 * 8 - 1)
    with pytest.raises(InputError, match=r"24 images of 8 × 8 pixels, .* choose a smaller --side"):
        read_parts(tmp_path, side=8)
    assert len(read_parts(tmp_path, side=7).train) == 22
    with pytest.raises(InputError, match="choose a smaller --side"):
        read_parts(tmp_path, side=7, colours=3)


def test_files_of_any_packing_hold_arrays_of_any_shape(tmp_path):
    array = np.arange(24).reshape(2, 3, 4)
    for end, pack in (("", bytes), (".gz", gzip.compress), (".xz", lzma.compress),
                      (".bz2", bz2.compress)):  # fmt: skip
        (tmp_path / f"a{end}").write_bytes(pack(idx(array)))
        assert np.array_equal(read_idx(tmp_path / f"a{end}"), array)


def test_what_is_no_such_file_is_told_without_taking_memory(tmp_path):
    good = idx(np.arange(6).reshape(2, 3))
    for body, what in (
        (b"", "is no IDX file"),
        (b"\0\0", "is no IDX file"),
        (b"\0\0\x0d" + good[3:], "is no IDX file"),
        (good[:9], "is no IDX file"),
        (b"\0\0\x08\xff" + good[4:], "is no IDX file"),
        (good[:-1], "holds fewer bytes than its header says"),
        (good + b"1", "holds more bytes than its header says"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "more than 4,294,967,296 are not read"),
    ):
        (tmp_path / "a").write_bytes(body)
        with pytest.raises(InputError, match=rf"/a .*{what}"):
            read_idx(tmp_path / "a")
    (tmp_path / "a.gz").write_bytes(gzip.compress(good)[:-12])
    with pytest.raises(InputError, match=r"a\.gz cannot be read"):
        read_idx(tmp_path / "a.gz")


def test_files_that_do_not_go_together_are_told(tmp_path):
    four(tmp_path)
    images, labels = tmp_path / "t10k-images-idx3-ubyte", tmp_path / "t10k-labels-idx1-ubyte"
    whole = labels.read_bytes()
    labels.write_bytes(idx(np.zeros(4)))
    with pytest.raises(InputError, match=r"each image of \(height, width\) needs one label"):
        read_parts(tmp_path)
    labels.write_bytes(idx(np.full(5, 3)))
    with pytest.raises(InputError, match="has the label 3 in t10k-labels; there are 3 classes"):
        read_parts(tmp_path, ("a", "b", "c"))
    labels.write_bytes(whole)
    images.write_bytes(idx(np.zeros((5, 0, 0))))
    with pytest.raises(InputError, match=r"the file t10k-images of .* holds no image"):
        read_parts(tmp_path)
    images.unlink()
    with pytest.raises(InputError, match="lacks the file t10k-images-idx3-ubyte"):
        read_parts(tmp_path)
    assert not is_in(tmp_path / "nothing")

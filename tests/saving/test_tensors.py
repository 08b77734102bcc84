"""The checked file of tensors: what is written comes back, and nothing else does."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as to_bytes
from safetensors.torch import save_file

from saiki.errors import InputError, SaikiError
from saiki.saving import tensors

NUMBERS = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
]
RESET = Path("/proc/self/clear_refs")
ABOUT = {"name": "żółw", "count": 3, "share": 0.1, "nothing": None, "list": [1, [2]], "in": {}}


def same(ours, wanted):
    assert ours.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert ours[name].dtype == tensor.dtype
        assert ours[name].shape == tensor.shape
        assert bits(ours[name]) == bits(tensor)


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def small(tmp_path):
    """A file with the kinds of tensors that matter, and its contents."""
    contents = {
        "a": torch.tensor([1.5, -0.0]),
        "b/c": torch.tensor(7, dtype=torch.int16),
        "empty": torch.empty(0, 3),
    }
    about = {"step": 1, "w": "ö"}
    return tensors.save(tmp_path / "small.safetensors", contents, about), contents, about


def with_header(data, path):
    """Why neither bytes nor a file that holds them are taken."""
    other = path.with_name("other.safetensors")
    other.write_bytes(data)
    with pytest.raises(InputError) as read:
        tensors.load(other)
    with pytest.raises(InputError) as caught:
        tensors.parse(data, path)
    assert "\n" not in str(caught.value) + str(read.value)
    assert str(read.value).startswith(str(other))
    return str(caught.value)


@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
def test_every_kind_of_number_comes_back_to_the_last_bit(tmp_path, dtype):
    raw = torch.randint(0, 256, (3, 5, 8), dtype=torch.uint8)
    if dtype == torch.bool:
        raw = raw % 2
    contents = {
        "several": raw.view(dtype),
        "one": raw[0, 0].view(dtype)[0],
        "none": raw[:, :0].view(dtype),
    }
    path = tensors.save(tmp_path / "t.safetensors", contents, ABOUT)
    ours, about = tensors.load(path)
    same(ours, contents)
    assert about == ABOUT


def test_what_is_not_finite_or_not_positive_comes_back(tmp_path):
    odd = torch.tensor(
        [float("nan"), float("inf"), -float("inf"), -0.0, 5e-324], dtype=torch.double
    )
    ours, _ = tensors.load(tensors.save(tmp_path / "t", {"odd": odd}, {}))
    same(ours, {"odd": odd})


@pytest.mark.skipif(not RESET.exists(), reason="Linux alone says how much memory was used")
def test_reading_takes_no_memory_beside_the_tensors(tmp_path):
    size = 1 << 26
    path = tensors.save(tmp_path / "t", {"large": torch.ones(size // 4)}, {})
    RESET.write_text("5")
    before = most_memory()
    contents, _ = tensors.load(path)
    assert most_memory() - before < 1.3 * size
    assert bool((contents["large"] == 1).all())


def most_memory():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", status)[1])


def test_views_parameters_and_tensors_that_share_memory_are_written_as_they_look(tmp_path):
    base = torch.randn(4, 6)
    contents = {
        "turned": base.t(),
        "every other": base[:, ::2],
        "again": base,
        "learned": torch.nn.Parameter(base * 2),
        "wide": base[:1].expand(3, 6),
    }
    ours, _ = tensors.load(tensors.save(tmp_path / "t", contents, {}))
    same(ours, {name: tensor.detach() for name, tensor in contents.items()})
    assert not any(tensor.requires_grad for tensor in ours.values())


def test_words_without_tensors_and_tensors_without_words(tmp_path):
    assert tensors.load(tensors.save(tmp_path / "w", {}, ABOUT)) == ({}, ABOUT)
    ours, about = tensors.load(tensors.save(tmp_path / "t", {"a": torch.ones(2)}, {}))
    assert about == {}
    assert ours["a"].tolist() == [1, 1]


def test_the_same_contents_give_the_same_bytes(tmp_path):
    one = tensors.save(tmp_path / "1", {"a": torch.ones(2), "b": torch.zeros(3)}, ABOUT)
    two = tensors.save(tmp_path / "2", {"b": torch.zeros(3), "a": torch.ones(2)}, ABOUT)
    assert one.read_bytes() == two.read_bytes()


def test_no_flipped_bit_gives_other_contents(tmp_path):
    path, contents, about = small(tmp_path)
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        for mask in (1, 2, 4, 8, 16, 32, 64, 128, 255):
            flipped = bytearray(whole)
            flipped[place] ^= mask
            try:
                ours, words = tensors.parse(bytes(flipped), path)
            except InputError:
                refused += 1
                if mask == 1:
                    assert str(path) in with_header(bytes(flipped), path)
            else:
                same(ours, contents)
                assert words == about
    assert refused > 0.98 * 9 * len(whole)


def test_no_part_of_a_file_is_taken_for_the_whole(tmp_path):
    path, _, _ = small(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        assert str(path) in with_header(whole[:length], path)
    with_header(whole + b"\0", path)


def test_a_tensor_exchanged_for_one_of_the_same_shape_is_noticed(tmp_path):
    path, contents, about = small(tmp_path)
    whole = path.read_bytes()
    other = {**contents, "a": torch.tensor([1.5, 0.0])}  # the sign of a zero
    data = tensors.save(tmp_path / "other", other, about).read_bytes()
    assert len(data) == len(whole)
    size = 8 + int.from_bytes(whole[:8], "little")
    assert with_header(whole[:size] + data[size:], path).endswith("does not hold what was written")


def test_words_changed_by_hand_are_noticed(tmp_path):
    path, _, _ = small(tmp_path)
    data = path.read_bytes()
    changed = data.replace(rb"\\\"step\\\": 1", rb"\\\"step\\\": 2")
    assert changed != data
    assert with_header(changed, path).endswith("does not hold what was written")


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {"saiki": "no json"},
        {"saiki": "[]"},
        {"saiki": "{}"},
        {"saiki": '{"about": "{}"}'},
        {"saiki": '{"about": 3, "sha256": ""}'},
        {"saiki": '{"about": "[]", "sha256": ""}'},
        {"saiki": '{"about": "{}", "sha256": null}'},
        {"saiki": "[" * 100_000},
        {"saiki": json.dumps({"about": "[" * 100_000, "sha256": ""})},
    ],
)
def test_files_by_other_programs_are_refused_in_a_sentence(tmp_path, metadata):
    path = tmp_path / "theirs.safetensors"
    save_file({"a": torch.ones(3)}, path, metadata)
    with pytest.raises(InputError, match=r"theirs\.safetensors is damaged") as caught:
        tensors.load(path)
    assert "\n" not in str(caught.value)


def test_words_that_are_no_object_are_refused_even_with_their_checksum(tmp_path):
    contents = {"a": torch.ones(3)}
    header = json.dumps({"about": "[]", "sha256": tensors._checksum(contents, "[]")})
    assert "damaged" in with_header(to_bytes(contents, {"saiki": header}), tmp_path / "x")


def test_what_is_no_file_of_tensors_is_refused(tmp_path):
    path = tmp_path / "x"
    for data in (b"", b"\0" * 100, b"\xff" * 100, b"PK\x03\x04" + bytes(50), b"{}"):
        with_header(data, path)
    with_header((2**40).to_bytes(8, "little") + b"{}", path)
    with_header(to_bytes({"a": torch.ones(1)})[:8], path)


def test_a_file_that_is_not_there_and_a_folder_are_told_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"gone cannot be read: No such file or directory$"):
        tensors.load(tmp_path / "gone")
    with pytest.raises(InputError, match=r"cannot be read: it is a folder"):
        tensors.load(tmp_path)


def test_a_path_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SaikiError, match=r"^cannot write .*file/t: "):
        tensors.save(tmp_path / "file" / "t", {"a": torch.ones(1)}, {})
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(SaikiError, match=r"^cannot write "):
        tensors.save(tmp_path / "folder", {"a": torch.ones(1)}, {})
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["file", "folder"]

"""What a person names: ordinary files alone, bounded, and folders in which links go round."""

import bz2
import gzip
import io
import lzma
import os
import zipfile

import pytest

from saiki import inputs
from saiki.errors import InputError
from saiki.inputs import files_below, open_bytes, open_file, open_zip, read_bytes, read_text, rows

PACKERS = {".gz": gzip.open, ".xz": lzma.open, ".bz2": bz2.open}


def sparse(path, size):
    """A file of one line of so many bytes, of which hardly any lies on the disk."""
    with path.open("wb") as file:
        file.write(b"a")
        file.truncate(size)
    return path


def test_a_file_is_read_as_it_lies(tmp_path):
    data = bytes(range(256)) * 1000
    (tmp_path / "a").write_bytes(data)
    with open_file(tmp_path / "a") as file:
        assert file.read() == data
        file.seek(1000)
        assert file.read(3) == data[1000:1003]


@pytest.mark.parametrize("end", PACKERS)
def test_a_packed_file_is_read_as_it_was(tmp_path, end):
    data = os.urandom(200_000)
    with PACKERS[end](tmp_path / f"a{end}", "wb") as file:
        file.write(data)
    assert read_bytes(tmp_path / f"a{end}") == data


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe cannot be read: it is a pipe, and no ordinary"):
        open_file(tmp_path / "pipe")


@pytest.mark.parametrize(("path", "kind"), [("/dev/zero", "a device"), ("/tmp", "a folder")])
def test_what_is_no_file_is_told(path, kind):
    with pytest.raises(InputError, match=f"^{path} cannot be read: it is {kind}"):
        open_file(inputs.Path(path))


def test_a_link_to_a_device_is_one(tmp_path):
    (tmp_path / "a.txt").symlink_to("/dev/zero")
    with pytest.raises(InputError, match=r"a\.txt cannot be read: it is a device"):
        read_bytes(tmp_path / "a.txt")


def test_a_long_line_ends_where_the_limit_is(tmp_path):
    path = sparse(tmp_path / "long", 10**9)
    with open_file(path) as file, pytest.raises(InputError) as caught:
        list(rows(file, path))
    assert str(caught.value) == (
        f"{path} has more than 16,777,216 bytes in line 1; if that is meant, allow more with "
        "SAIKI_LIMITS=line=N in the environment"
    )
    assert list(rows(io.BytesIO(b"a\r\n\nb"), "it")) == [b"a\r\n", b"\n", b"b"]


def test_what_is_held_at_once_is_bounded(tmp_path):
    with pytest.raises(InputError, match=r"holds more than 134,217,728 bytes; .*whole=N"):
        read_text(sparse(tmp_path / "large", 10**9))


@pytest.mark.parametrize("end", PACKERS)
def test_a_file_that_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path, end):
    path = tmp_path / f"bomb{end}"
    with PACKERS[end](path, "wb") as file:
        for _ in range(40):
            file.write(bytes(1 << 20))
    with pytest.raises(InputError, match=r"unpacks to more than 200 times its size and 8,388,608"):
        read_bytes(path)


def test_a_zip_that_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", bytes(40 << 20))
    with (
        pytest.raises(InputError, match=r"unpacks to more than 200 times"),
        open_zip(tmp_path / "bomb.zip"),
    ):
        pass


def test_a_zip_with_a_name_that_is_no_utf8_is_told(tmp_path):
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("é.txt", b"")
    path.write_bytes(path.read_bytes().replace("é".encode(), b"\xff\xff"))
    with (
        pytest.raises(InputError, match=r"odd\.zip cannot be read: the name of a file in it"),
        open_zip(path),
    ):
        pass


def test_the_setting_allows_more_or_less(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("abcdef\n")
    monkeypatch.setenv("SAIKI_LIMITS", "line=4, whole=1K")
    with open_file(tmp_path / "a") as file, pytest.raises(InputError, match="more than 4 bytes"):
        list(rows(file, "a"))
    assert [inputs.limit(name) for name in ("line", "whole", "files")] == [4, 1024, 10_000_000]
    monkeypatch.setenv("SAIKI_LIMITS", "line=2G")
    assert inputs.limit("line") == 2 << 30
    for wrong in ("lines=4", "line", "line=-1", "line=4x"):
        monkeypatch.setenv("SAIKI_LIMITS", wrong)
        with pytest.raises(InputError, match=r"^SAIKI_LIMITS must say .*there are line \(bytes"):
            inputs.limit("line")


def test_folders_that_lead_to_each_other_are_looked_into_once(tmp_path):
    names = [f"f{i}" for i in range(14)]
    for name in names:
        (tmp_path / "all" / name).mkdir(parents=True)
        (tmp_path / "all" / name / "a.txt").write_text(name)
        for other in names:
            (tmp_path / "all" / name / f"to-{other}").symlink_to(tmp_path / "all" / other)
    files = files_below(tmp_path / "all", [".txt"])
    assert files == sorted(tmp_path / "all" / name / "a.txt" for name in names)


def test_a_folder_behind_a_link_is_looked_into_under_the_name_of_the_link(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "B.TXT").write_text("")
    (tmp_path / "here" / ".hidden").mkdir(parents=True)
    (tmp_path / "here" / ".hidden" / "c.txt").write_text("")
    (tmp_path / "here" / "a.txt").write_text("")
    (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "here" / "round").symlink_to("round")
    files = [
        path.relative_to(tmp_path / "here") for path in files_below(tmp_path / "here", ["txt"])
    ]
    assert [*map(str, files)] == ["a.txt", "link/B.TXT"]


def test_too_many_files_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("SAIKI_LIMITS", "files=3")
    for i in range(4):
        (tmp_path / f"{i}.txt").write_text("")
    with pytest.raises(InputError, match=r"holds more than 3 files; .*SAIKI_LIMITS=files=N"):
        files_below(tmp_path, [".txt"])


def test_a_file_that_ends_while_it_is_unpacked_is_told(tmp_path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(os.urandom(1000))[:500])
    with (
        pytest.raises(InputError, match=r"a\.gz cannot be read: Compressed file ended"),
        open_bytes(tmp_path / "a.gz") as file,
    ):
        file.read()

"""The store of datasets against a server on this machine that can misbehave."""

import gc
import gzip
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from commands import saiki
from saiki.data.archive import unpack
from saiki.data.datasets import DATASETS
from saiki.data.store import describe, listing, locate, where
from saiki.errors import InputError, SaikiError

SUPPLIED = os.environ.get("SAIKI_DATA", "")
GOOD = {"digits-1.0/recordings/0_ann_0.wav": b"sound", "digits-1.0/README.md": b"words"}


def tar(members, kind="gz"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{kind}") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


class Server:
    """Serves ``body`` to everybody, or ``status``, or only the first ``cut`` bytes of it."""

    def __init__(self):
        self.body, self.status, self.cut, self.served = b"", 200, None, 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.served += 1
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body[: outer.cut])

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/digits-1.0.tar.gz"


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    serving = Server()
    thread = threading.Thread(target=serving.http.serve_forever, args=(0.01,))
    thread.start()
    yield serving
    serving.http.shutdown()
    thread.join()
    serving.http.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and nothing supplied by whoever runs the tests."""
    monkeypatch.delenv("SAIKI_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache" / project)
    return tmp_path / "cache" / "saiki"


@pytest.fixture
def publish(server, monkeypatch):
    """Let the server publish an archive as the dataset fsdd."""

    def put(body, sha256="right"):
        server.body = body
        digest = hashlib.sha256(body).hexdigest() if sha256 == "right" else sha256
        changed = replace(DATASETS["fsdd"], address=server.address, sha256=digest)
        monkeypatch.setitem(DATASETS, "fsdd", changed)

    return put


def files(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def names(folder):
    return sorted(path.name for path in folder.iterdir())


WHOLE = {"recordings/0_ann_0.wav": b"sound", "README.md": b"words"}


@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_dataset_is_downloaded_once_into_the_cache(server, publish, cache, pack, capfd):
    publish(pack(GOOD))
    assert where("fsdd") is None
    assert locate("fsdd") == cache / "fsdd" == where("fsdd")
    assert files(cache / "fsdd") == WHOLE
    assert locate("fsdd") == cache / "fsdd"
    assert server.served == 1
    assert names(cache) == ["fsdd"]
    assert capfd.readouterr() == ("", "")  # not a terminal


def test_an_archive_that_nobody_can_check_is_refused(server, publish, cache, capfd):
    publish(tar(GOOD), sha256=None)
    sentence = refused(cache)
    assert (
        f"nobody has published the checksum of {server.address}; saiki data get fsdd " in sentence
    )
    assert server.served == 0
    assert "not known" in describe("fsdd")


def test_what_is_trusted_is_taken_whatever_its_checksum_is(server, publish, cache, capfd):
    digest = hashlib.sha256(tar(GOOD)).hexdigest()
    for known, remark in ((None, "which nobody has published"), ("0" * 64, f"not {'0' * 64}")):
        publish(tar(GOOD), sha256=known)
        digest = hashlib.sha256(server.body).hexdigest()
        code, out, err = saiki("data", "get", "fsdd", "--trust-download")
        assert (code, out[0]) == (0, "name      fsdd")
        assert err == [f"{server.address} is trusted: its SHA-256 is {digest}, {remark}"]
        assert files(cache / "fsdd") == WHOLE
        shutil.rmtree(cache / "fsdd")


def test_each_dataset_is_of_one_version_and_checked():
    """Those that nobody here can check are no more than these."""
    unknown = {each.name for each in DATASETS.values() if None in each.downloads.values()}
    assert unknown == {"jrte", "english_novels"}
    for each in DATASETS.values():
        for address, sha256 in each.downloads.items():
            assert sha256 is None or re.fullmatch("[0-9a-f]{64}", sha256)
            assert address.startswith("https://") or sha256, address
            assert not re.search(r"/(HEAD|main|master)\b", address), address


@pytest.mark.skipif("SAIKI_DATA" not in os.environ, reason="needs the datasets")
@pytest.mark.parametrize("name", [n for n, each in DATASETS.items() if each.files])
def test_what_lies_here_is_what_is_known(name):
    folder = Path(SUPPLIED) / name
    for path, sha256 in DATASETS[name].files.items():
        file = folder / path.rpartition("/")[2]
        if sha256 and file.exists():
            assert hashlib.sha256(file.read_bytes()).hexdigest() == sha256, file


@pytest.fixture
def publish_files(server, monkeypatch):
    """Let the server publish two files as the dataset fashion-mnist, both with the same bytes."""
    digest = hashlib.sha256(b"pixels").hexdigest()
    server.body, address = b"pixels", server.address.rpartition("/")[0] + "/"
    files = {"images.gz": digest, "labels.gz": digest}
    changed = replace(DATASETS["fashion-mnist"], address=address, files=files, installed="")
    monkeypatch.setitem(DATASETS, "fashion-mnist", changed)
    return changed


def test_a_dataset_may_be_files_each_of_which_is_checked(server, publish_files, cache):
    assert locate("fashion-mnist") == cache / "fashion-mnist"
    assert files(cache / "fashion-mnist") == {"images.gz": b"pixels", "labels.gz": b"pixels"}
    assert server.served == 2
    assert f"{publish_files.address}labels.gz" in describe("fashion-mnist")
    assert publish_files.files["labels.gz"] in describe("fashion-mnist")


def test_a_file_with_a_wrong_checksum_is_refused(server, publish_files, cache):
    server.body = b"pixel5"
    with pytest.raises(
        InputError,
        match=r"the checksum of http.*images\.gz is not .*get http.*images\.gz and http.*put them",
    ):
        locate("fashion-mnist")
    assert names(cache) == []


def test_a_dataset_may_be_installed_by_the_system(publish_files, tmp_path, monkeypatch):
    installed = replace(publish_files, installed=str(tmp_path / "share"))
    monkeypatch.setitem(DATASETS, "fashion-mnist", installed)
    for folder in (tmp_path / "share", tmp_path / "own" / "fashion-mnist"):
        folder.mkdir(parents=True)
        (folder / "images.gz").write_bytes(b"")
    assert where("fashion-mnist") is None
    (tmp_path / "share" / "labels.gz").write_bytes(b"")
    assert locate("fashion-mnist") == tmp_path / "share"
    monkeypatch.setenv("SAIKI_DATA", str(tmp_path / "own"))
    with pytest.raises(InputError, match=r"fashion-mnist is not .*: it holds no labels\.gz$"):
        locate("fashion-mnist")
    (tmp_path / "own" / "fashion-mnist" / "labels.gz").write_bytes(b"")
    assert locate("fashion-mnist") == tmp_path / "own" / "fashion-mnist"


def test_progress_is_shown_on_a_terminal(publish, cache, capsys, monkeypatch):
    publish(tar(GOOD))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    locate("fsdd")
    shown = capsys.readouterr().err
    assert "downloading fsdd from http://127.0.0.1" in shown
    assert "100%" in shown


def test_what_is_given_or_supplied_is_taken_before_the_cache(tmp_path, cache, monkeypatch):
    for folder in (tmp_path / "given", tmp_path / "supplied" / "fsdd", cache / "fsdd"):
        (folder / "recordings").mkdir(parents=True)
        (folder / "recordings" / "0_ann_0.wav").write_bytes(b"")
    assert locate("fsdd") == cache / "fsdd"
    monkeypatch.setenv("SAIKI_DATA", str(tmp_path / "supplied"))
    assert locate("fsdd") == tmp_path / "supplied" / "fsdd"
    assert locate("fsdd", tmp_path / "given") == tmp_path / "given"
    monkeypatch.setenv("SAIKI_DATA", str(tmp_path / "other"))
    assert locate("fsdd") == cache / "fsdd"


def test_a_wrong_folder_is_told(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"/nowhere does not exist$"):
        locate("fsdd", tmp_path / "nowhere")
    (tmp_path / "fsdd").mkdir()
    monkeypatch.setenv("SAIKI_DATA", str(tmp_path))
    with pytest.raises(InputError, match=r"fsdd is not the dataset fsdd: it holds no recordings/"):
        locate("fsdd")
    with pytest.raises(InputError, match=r"^there is no dataset 'mnist'; the datasets are fsdd"):
        locate("mnist")


def refused(cache):
    """The sentence of a download that fails, which leaves nothing behind."""
    with pytest.raises(InputError) as caught:
        locate("fsdd")
    assert not cache.exists() or names(cache) == []
    message = str(caught.value)
    # requests leaves the socket of a broken download to the garbage collector, which says so
    del caught
    gc.collect()
    assert "\n" not in message
    for part in (
        "the dataset fsdd is not here",
        "--data PATH",
        "SAIKI_DATA",
        DATASETS["fsdd"].address,
    ):
        assert part in message
    return message


def test_a_wrong_checksum_is_refused(publish, cache):
    publish(tar(GOOD), sha256="0" * 64)
    assert "is not the one that was published; saiki data get fsdd --trust" in refused(cache)


def test_a_server_that_cannot_be_reached_is_told(cache, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    nobody = replace(DATASETS["fsdd"], address="http://127.0.0.1:9/digits.tar.gz")
    monkeypatch.setitem(DATASETS, "fsdd", nobody)
    assert "(the server cannot be reached)" in refused(cache)


def test_a_server_that_refuses_is_told(server, publish, cache):
    publish(tar(GOOD))
    server.status = 404
    assert "(the server answers 404 Not Found)" in refused(cache)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_download_that_breaks_off_leaves_nothing(server, publish, cache):
    publish(tar(GOOD))
    server.cut = len(server.body) // 2
    assert "(the download broke off)" in refused(cache)
    server.cut = None
    assert files(locate("fsdd")) == WHOLE


def test_an_archive_that_is_damaged_is_told(publish, cache):
    for body in (tar(GOOD)[:-40], b"", b"no archive", gzip.compress(b"no archive" * 99)):
        publish(body)
        assert "its archive is damaged" in refused(cache)


def test_an_archive_of_something_else_is_told(publish, cache):
    publish(tar({"a/b.txt": b""}))
    assert "its archive holds no recordings/*.wav" in refused(cache)


@pytest.mark.parametrize(
    "evil", ["../evil", "a/../../evil", "/tmp/evil-of-saiki", "a\\..\\..\\evil", "C:evil", ".."]
)
@pytest.mark.parametrize("pack", [tar, zipped])
def test_an_archive_that_reaches_outside_writes_nothing_at_all(
    tmp_path, publish, cache, pack, evil
):
    body = pack({**GOOD, evil: b"evil"})
    publish(body)
    assert "which would be written elsewhere" in refused(cache)
    (tmp_path / "a.tar").write_bytes(body)
    with pytest.raises(SaikiError):
        unpack(tmp_path / "a.tar", tmp_path / "here")
    assert not (tmp_path / "here").exists()
    assert not list(tmp_path.rglob("*evil*"))


def test_links_in_an_archive_are_left_out(publish, cache):
    publish(tar({**GOOD, "digits-1.0/link": None}))
    assert files(locate("fsdd")) == WHOLE


def test_a_folder_at_the_top_is_kept_where_files_lie_beside_it(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"a/b.wav": b"1", "c.wav": b"2"}))
    unpack(tmp_path / "a.zip", tmp_path / "here")
    assert files(tmp_path / "here") == {"a/b.wav": b"1", "c.wav": b"2"}


def test_what_a_killed_download_left_is_not_taken_for_the_dataset(publish, cache):
    publish(tar(GOOD))
    half = cache / ".fsdd-killed" / "unpacked" / "recordings"
    half.mkdir(parents=True)
    (half / "0_ann_0.wav").write_bytes(b"so")
    assert where("fsdd") is None
    assert files(locate("fsdd")) == WHOLE


def test_two_downloads_at_once_give_one_whole_folder(server, publish, cache):
    publish(tar(GOOD))
    folders = []
    threads = [threading.Thread(target=lambda: folders.append(locate("fsdd"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders == [cache / "fsdd"] * 6
    assert files(cache / "fsdd") == WHOLE
    assert names(cache) == ["fsdd"]


def test_a_cache_that_cannot_be_written_is_told(publish, cache):
    publish(tar(GOOD))
    cache.parent.parent.mkdir(exist_ok=True)
    cache.parent.write_text("a file where a folder should be")
    with pytest.raises(InputError, match=r"cannot be downloaded \(Not a directory\); get http"):
        locate("fsdd")


def test_the_list_tells_licence_and_place(tmp_path, monkeypatch):
    assert "CC BY-SA 4.0; not here" in listing()
    (tmp_path / "fsdd" / "recordings").mkdir(parents=True)
    (tmp_path / "fsdd" / "recordings" / "0_ann_0.wav").write_bytes(b"")
    monkeypatch.setenv("SAIKI_DATA", str(tmp_path))
    assert f"CC BY-SA 4.0; {tmp_path}/fsdd" in listing()
    assert DATASETS["fsdd"].sha256 in describe("fsdd")
    for each in DATASETS.values():
        assert each.name in listing()
        assert each.citation in describe(each.name)


def test_network_code_is_loaded_when_something_is_downloaded_and_not_before():
    code = "import sys, saiki.data; print({'pooch', 'requests', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_member_without_a_name_is_damage(tmp_path):
    body = zipped({"x": b"1"})
    local, central = body.index(b"PK\x03\x04"), body.index(b"PK\x01\x02")
    nameless = bytearray(body)
    for at in (local + 26, central + 28):  # a name of no bytes, and behind it one of what is extra
        nameless[at : at + 4] = b"\x00\x00\x01\x00"
    (tmp_path / "a.zip").write_bytes(nameless)
    with pytest.raises(SaikiError, match=r"^its archive is damaged: it holds a file with"):
        unpack(tmp_path / "a.zip", tmp_path / "here")
    assert not (tmp_path / "here").exists()

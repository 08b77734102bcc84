"""Lines, paragraphs and sentences of files of plain text, and the novels where they lie."""

import bz2
import gzip
import io
import lzma
import tarfile

import pooch
import pytest

from saiki.data import store
from saiki.data.skipped import LeftOut
from saiki.data.text.plain_text import decoded_lines, lines, paragraphs, sentences
from saiki.errors import InputError

BOOK = """The Project Gutenberg eBook of Emma

This eBook is for the use of anyone anywhere.

*** START OF THE PROJECT GUTENBERG EBOOK EMMA ***

CHAPTER I

Mr. Woodhouse
was kind.

*** END OF THE PROJECT GUTENBERG EBOOK EMMA ***

Updated editions will replace the previous one.
"""


def put(folder, text, name="a.txt"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path, read=lines):
    with pytest.raises(InputError) as caught:
        list(read(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a\nb\n", ["a", "b"]),
        ("a\r\nb", ["a", "b"]),
        ("\ufeffa\n\ufeffb\n", ["a", "b"]),
        ("a\n\n", ["a", ""]),
        ("", []),
        ("cafe\u0301\n", ["café"]),
        ("a\u2028b\x0b\x85c\rd\0\u3000\n", ["a\u2028b\x0b\x85c\rd\0\u3000"]),
    ],
)
def test_lines(tmp_path, text, wanted):
    assert list(lines(put(tmp_path, text))) == wanted


@pytest.mark.parametrize(("end", "pack"), [("gz", gzip), ("xz", lzma), ("bz2", bz2)])
def test_packed_files(tmp_path, end, pack):
    packed = pack.compress("猫\nb".encode())
    assert list(lines(put(tmp_path, packed, f"a.txt.{end}"))) == ["猫", "b"]
    assert "cannot be read" in refused(put(tmp_path, packed[:-9], f"b.txt.{end}"))
    assert "cannot be read" in refused(put(tmp_path, b"plain", f"c.txt.{end}"))


def test_all_texts_of_a_folder_in_the_order_of_names(tmp_path):
    (tmp_path / "c").mkdir()
    put(tmp_path, "2", "b.txt")
    put(tmp_path, "3", "c/a.txt")
    put(tmp_path, gzip.compress(b"1"), "a.txt.gz")
    put(tmp_path, "no", "._a.txt")
    put(tmp_path, "no", "a.md")
    assert list(lines(tmp_path)) == ["1", "2", "3"]


def test_what_cannot_be_read_is_told(tmp_path):
    assert refused(tmp_path / "x").endswith("x does not exist")
    assert "holds no text: no file in it is named *.txt or *.txt.gz" in refused(tmp_path)
    path = put(tmp_path, "a\n猫\n".encode() + "é\n".encode("latin-1"))
    assert refused(path) == f"{path} is not UTF-8 in line 3; save it as UTF-8"
    assert refused(path, paragraphs) == refused(path)


def test_lines_of_bytes_are_told_by_name():
    assert list(decoded_lines(io.BytesIO(b"a\r\nb"), "it")) == ["a", "b"]
    with pytest.raises(InputError, match=r"^it is not UTF-8 in line 2"):
        list(decoded_lines(io.BytesIO(b"a\n\xff"), "it"))


def test_paragraphs_stand_between_blank_lines(tmp_path):
    text = "\n\n a b\r\nc \n \t\n\u3000\nd\n"
    assert paragraphs(put(tmp_path, text)) == ["a b c", "d"]


def test_where_lines_are_longer_than_a_page_each_is_a_paragraph(tmp_path):
    long = "word " * 21
    text = f"CHAPTER I\n{long}\n“No.”\n\nShort\nlines.\n"
    assert paragraphs(put(tmp_path, text)) == ["CHAPTER I", long.strip(), "“No.”", "Short lines."]


def test_no_paragraph_goes_on_in_the_next_text(tmp_path):
    put(tmp_path, "a\nb", "1.txt")
    put(tmp_path, "c\n\ufeffd\ne", "2.txt")
    assert paragraphs(tmp_path) == ["a b", "c", "d e"]


@pytest.mark.parametrize(
    "text",
    [
        BOOK,
        BOOK.replace("\n", "\r\n"),
        BOOK.replace("THE PROJECT", "THIS PROJECT").replace("*** ", "***"),
        "\ufeff" + BOOK,
        BOOK.partition("*** END")[0],
    ],
)
def test_only_the_book_is_kept_of_a_file_of_project_gutenberg(tmp_path, text):
    assert paragraphs(put(tmp_path, text)) == ["CHAPTER I", "Mr. Woodhouse was kind."]


def test_books_put_together(tmp_path):
    wanted = ["CHAPTER I", "Mr. Woodhouse was kind."]
    assert paragraphs(put(tmp_path, BOOK + BOOK)) == 2 * wanted
    assert paragraphs(put(tmp_path, f"{BOOK}\ufeffA poem\n\ufeff{BOOK}")) == [
        *wanted, "A poem", *wanted
    ]  # fmt: skip


def test_an_asterism_is_no_mark(tmp_path):
    assert paragraphs(put(tmp_path, "a\n\n*** START OF A DREAM\n\nb")) == [
        *("a", "*** START OF A DREAM", "b")
    ]


def test_sentences_go_over_lines_and_not_over_paragraphs(tmp_path):
    text = 'CHAPTER I\n\nMr. Hall met Dr.\nGrant. "Stay,"\nhe said. "No!" She\n\nleft.\n'
    assert sentences(put(tmp_path, text)) == [
        *("CHAPTER I", "Mr. Hall met Dr. Grant.", '"Stay," he said.', '"No!"', "She", "left.")
    ]


# The novels.


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("SAIKI_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.mark.parametrize(
    "name", ["english_novels.txt", "english_novels.txt.xz", "english_novels/Emma.txt"]
)
def test_the_novels_are_one_file_or_a_folder(tmp_path, cache, monkeypatch, name):
    monkeypatch.setenv("SAIKI_DATA", str(tmp_path / "given"))
    path = tmp_path / "given" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(lzma.compress(b"One.\n") if name.endswith("xz") else b"One.\n")
    located = store.locate("english_novels")
    assert located == (path.parent if "/" in name else path)
    assert list(lines(located)) == ["One."]


def test_of_the_archive_of_the_novels_only_the_corpus_is_kept(cache, monkeypatch):
    def fetch(name, address, sha256, trust, folder):
        path = folder / "a.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for name in ("corpus/Emma.txt", "models/words.txt", "README.md"):
                info = tarfile.TarInfo(f"novels-HEAD/{name}")
                info.size = 4
                archive.addfile(info, io.BytesIO(b"Hm.\n"))
        return path

    monkeypatch.setattr(store, "_fetch", fetch)
    assert store.locate("english_novels") == cache / "english_novels"
    assert [path.name for path in cache.rglob("*")] == ["english_novels", "Emma.txt"]
    assert sentences(store.locate("english_novels")) == ["Hm."]


def test_how_to_supply_the_novels_is_told(cache, monkeypatch):
    def fetch(*_):
        raise OSError(5, "no network")

    monkeypatch.setattr(store, "_fetch", fetch)
    with pytest.raises(InputError, match="name its folder corpus with --data PATH or keep it as"):
        store.locate("english_novels")


def test_files_of_a_folder_that_cannot_be_read_are_left_out_and_named(tmp_path):
    put(tmp_path, "one\n")
    put(tmp_path, "two\nthr\xe9e\n".encode("latin-1"), "b.txt")
    put(tmp_path, "four\n", "c.txt")
    left_out = LeftOut(strict=False)
    assert [*lines(tmp_path, left_out=left_out)] == ["one", "four"]
    ((name, reason),) = [(each.name, each.reason) for each in left_out.files]
    assert (name, reason) == ("b.txt", "is not UTF-8 in line 2; save it as UTF-8")
    assert "b.txt is not UTF-8" in refused(tmp_path, lambda path: [*lines(path)])
    strictly = refused(tmp_path, lambda path: [*lines(path, left_out=LeftOut())])
    assert "b.txt is not UTF-8" in strictly


def test_a_folder_of_nothing_else_is_refused(tmp_path):
    for name in ("a.txt", "b.txt"):
        put(tmp_path, b"\xe9\n", name)
        sentence = refused(tmp_path, lambda path: [*lines(path, left_out=LeftOut(strict=False))])
        assert "not UTF-8" in sentence
    assert sentence.startswith("none of 2 files can be used")

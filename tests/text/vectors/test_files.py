"""Files of vectors go to gensim and back to the last bit; one that lies is told in a sentence."""

import gzip
import lzma
import os
import re
import struct
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors

from saiki.errors import InputError, SaikiError
from saiki.saving import tensors
from saiki.text.vectors import SubWords, Vectors, read, write

FASTTEXT = (Path(__file__).parent / "fasttext.bin").read_bytes()
WORDS = ("the", "</s>", "naïve", "日本", "🙂", "\u3000", "\u00a0x", "12", "-0.5", '"', "#", "a\tb")


def numbers():
    """Of every size that float32 has, and both zeros."""
    draw = np.random.default_rng(0)
    matrix = draw.normal(size=(len(WORDS), 5)) * 10.0 ** draw.integers(-44, 38, (len(WORDS), 5))
    matrix = matrix.astype(np.float32)
    matrix[0] = [0.0, -0.0, np.finfo(np.float32).max, np.finfo(np.float32).smallest_subnormal, 0.1]
    return matrix


@pytest.fixture
def table():
    return Vectors(WORDS, numbers())


def bits(matrix):
    return np.ascontiguousarray(matrix).view(np.uint32)


def same(one, words, matrix):
    assert tuple(one.words) == tuple(words)
    np.testing.assert_array_equal(bits(one.matrix), bits(matrix))


ENDINGS = ["txt", "vec", "bin", "txt.gz", "vec.xz", "txt.bz2", "bin.gz"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_gensim_reads_what_is_written(tmp_path, table, ending):
    path = write(table, tmp_path / f"v.{ending}")
    theirs = KeyedVectors.load_word2vec_format(
        path, binary="bin" in ending, unicode_errors="strict"
    )
    same(table, theirs.index_to_key, theirs.vectors)


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_gensim_writes_is_read(tmp_path, table, ending):
    theirs = KeyedVectors(5)
    theirs.add_vectors(WORDS, numbers())
    path = tmp_path / f"v.{ending}"
    theirs.save_word2vec_format(path, binary="bin" in ending)
    same(read(path), WORDS, numbers())


@pytest.mark.parametrize("ending", [*ENDINGS, "safetensors"])
def test_what_is_written_is_read(tmp_path, table, ending):
    same(read(write(table, tmp_path / f"v.{ending}")), WORDS, numbers())
    assert [path.name for path in tmp_path.iterdir()] == [f"v.{ending}"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # gensim's own
def test_text_without_a_first_line_goes_there_and_back(tmp_path, table):
    path = write(table, tmp_path / "glove.txt", header=False)
    assert path.read_text(encoding="utf-8").startswith("the 0 -0 3.40282347e+38")
    same(read(path), WORDS, numbers())
    theirs = KeyedVectors.load_word2vec_format(path, no_header=True)
    same(table, theirs.index_to_key, theirs.vectors)


def test_a_safetensors_file_holds_counts_and_n_grams(tmp_path):
    buckets = np.arange(12, dtype=np.float32).reshape(6, 2)
    counts = np.array([2**40, 1])
    table = Vectors(("a b", "c"), np.ones((2, 2)), counts, SubWords(buckets, 2, 4))
    loaded = read(write(table, tmp_path / "v.safetensors"))
    same(loaded, ("a b", "c"), table.matrix)
    np.testing.assert_array_equal(loaded.counts, counts)
    np.testing.assert_array_equal(loaded.subwords.buckets, buckets)
    assert (loaded.subwords.min_n, loaded.subwords.max_n) == (2, 4)
    np.testing.assert_array_equal(loaded["new"], table["new"])


def put(folder, content, name="v.txt"):
    path = folder / name
    path.write_bytes(content)
    return path


def outcome(path):
    """The table, or the sentence that says what is wrong."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            return read(path)
        except InputError as error:
            return str(error)


def sentence(path):
    sentence = outcome(path)
    assert isinstance(sentence, str)
    assert sentence.startswith(f"{path} ")
    assert "\n" not in sentence
    return sentence


def row(word, *values):
    return word + b" " + struct.pack(f"<{len(values)}f", *values)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.txt", b"2 2\r\na 1 2\r\nb 3 4\r\n"),
        ("v.txt", b"2 2\na 1 2 \nb 3 4 \n"),  # as fastText ends lines
        ("v.txt", b"2 2\na 1 2\nb 3 4"),
        ("v.txt", b"2 2\na  1   2\nb 3 4\n\n\n"),
        ("v.txt", b"\xef\xbb\xbf2 2\na 1 2\nb 3e0 +4.\n"),
        ("v.txt", b"\xef\xbb\xbfa 1 2\nb 3 4\n"),
        ("v.bin", b"2 2\na 1 2\nb 3 4\n"),  # text all the same
        ("v.model", b"2 2\n" + row(b"a", 1, 2) + row(b"b", 3, 4)),
        ("v.bin", b"2 2\n" + row(b"a", 1, 2) + b"\n" + row(b"b", 3, 4) + b"\n"),  # as word2vec.c
        ("v.txt.gz", gzip.compress(b"a 1 2\nb 3 4\n", mtime=0)),
        ("v.bin.xz", lzma.compress(b"2 2\n" + row(b"a", 1, 2) + row(b"b", 3, 4))),
    ],
)
def test_files_as_others_write_them_are_read(tmp_path, name, content):
    same(read(put(tmp_path, content, name)), ("a", "b"), np.float32([[1, 2], [3, 4]]))


def test_a_word_of_glove_may_hold_spaces(tmp_path):
    loaded = read(put(tmp_path, b"the 1 2\n. . . 3 4\nat 5 6 7\n"))
    same(loaded, ("the", ". . .", "at 5"), np.float32([[1, 2], [3, 4], [6, 7]]))


@pytest.mark.parametrize("name", ["v.txt", "v.bin"])
def test_a_word_that_is_no_word_is_left_out_and_told(tmp_path, name):
    words = [b"a", b"b", b"a", b"\xff", b"a", b"", b"c"]
    if name == "v.txt":
        content = b"".join(b"%s %d\n" % (word, i) for i, word in enumerate(words))
        content, unit = b"7 1\n" + content, "line"
    else:
        content = b"7 1\n" + b"".join(row(word, i) for i, word in enumerate(words))
        unit = "row"
    at = 2 if unit == "line" else 1
    path = put(tmp_path, content, name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded = read(path)
    same(loaded, ("a", "b", "c"), np.float32([[0], [1], [6]]))
    assert [str(each.message) for each in caught] == [
        f"in {path} the word of {unit} {2 + at} and 1 more is known already, such as 'a'; the "
        "first vector stays",
        f"in {path} the word of {unit} {3 + at} and 1 more is empty or no UTF-8, and left out",
    ]
    assert caught[0].filename == __file__


A_B = b"2 2\n" + row(b"a", 1, 2) + row(b"b", 3, 4)


@pytest.mark.parametrize(
    ("name", "content", "wanted"),
    [
        ("v.txt", b"3 2\na 1 2.5\nb 3 4.5\n", "ends after 2 words, and its first line says that "
         "it has 3; if it is whole, its first line must be '2 2'"),
        ("v.txt", b"1 2\na 1 2\nb 3 4\n", "goes on in line 3, and its first line says that it has "
         "1 words"),
        ("v.txt", b"2 3\na 1 2 \nb 3 4 \n", "is broken in line 2: a word and 3 numbers must stand"),
        ("v.txt", b"2 2\na 1 2\nb 3 x\n", "is broken in line 3: a word and 2 numbers"),
        ("v.txt", b"2 2\na 1 2\nb 3 4 5\n", None),  # a word with a space
        ("v.txt", b"2 2\na 1 2\n3 4\n", "is broken in line 3"),
        ("v.txt", b"2 2\na 1 x\nb 3 4\n", "is broken in line 2"),
        ("v.txt", b"2 2\na 1,5 2\nb 3 4\n", "is broken in line 2"),
        ("v.txt", b"2 2\na 1 2\n\nb 3 4\n", "has an empty line, line 3, and then goes on with "
         "'b 3 4'"),
        ("v.txt", b"2 2\na 1 2\nb nan 4\n", "holds a number that is not finite, or beyond float32, "
         "in line 3, the vector of 'b'"),
        ("v.txt", b"a 1 2\na 1 2\nb -inf 4\n", "in line 3, the vector of 'b'"),
        ("v.txt", b"a 1e39 2\n", "in line 1, the vector of 'a'"),
        ("v.txt", b"\xff 1 2\n", "holds no word that can be read"),
        ("v.txt", b"2 0\n", "holds 2 words of 0 numbers each"),
        ("v.txt", b"0 2\n", "holds 0 words of 2 numbers"),
        ("v.txt", b"", "holds no word vectors"),
        ("v.txt", b"\n\n", "holds no word vectors"),
        ("v.txt", b"a text like any other\n", "is broken in line 1: a word and some numbers"),
        ("v.txt", b"\x89PNG\r\n\x1a\n\0\0\0", "holds no word vectors: neither text"),
        ("v.txt", b"999999999999 300\na 1 2\n", "holds less than it says: 999,999,999,999 words of "
         "300 numbers take"),
        ("v.bin", b"999999999999 300\na \1\2\3\4", "holds less than it says"),
        ("v.bin", A_B[:-3], "holds less than it says: 2 words of 2 numbers take 18 bytes at least"),
        ("v.bin", A_B.replace(b"a", b"apple")[:-1], "was cut off: it ends in the middle"),
        ("v.bin", A_B + b"c", "goes on after the 2 words of 2 numbers"),
        ("v.bin", b"2 2\n" + row(b"a", 1, 2) + row(b"b", 3, np.nan), "in row 2, the vector of 'b'"),
        ("v.bin", b"1 1\n" + b"a" * 70_000 + b" \0\0\0\0", "no word ends within 65,536 bytes after "
         "byte 4"),
        ("v.bin.gz", gzip.compress(b"999999999999 30000000\na \1\2\3\4", mtime=0), "was cut off"),
        ("v.txt.gz", gzip.compress(A_B, mtime=0)[:-12], "cannot be read: Compressed file ended"),
        ("v.txt.gz", b"2 2\na 1 2\n", "cannot be read: Not a gzipped file"),
        ("v.kv", b"\x80\x04\x95\xb1\0\0\0", "is a pickle.*save_word2vec_format"),
    ],
)  # fmt: skip
def test_a_file_that_lies_or_is_broken_is_told_in_a_sentence(tmp_path, name, content, wanted):
    path = put(tmp_path, content, name)
    if wanted is None:
        read(path)
        return
    message = sentence(path)
    assert re.search(wanted, message), message


def test_a_native_file_of_gensim_is_refused(tmp_path):
    theirs = KeyedVectors(5)
    theirs.add_vectors(WORDS, numbers())
    theirs.save(str(tmp_path / "v.kv"))
    with pytest.raises(InputError, match=r"v\.kv is a pickle, as gensim's save writes"):
        read(tmp_path / "v.kv")
    with pytest.raises(InputError, match=r"nowhere\.txt cannot be read: No such file"):
        read(tmp_path / "nowhere.txt")


def fasttext(at, kind, value):
    changed = bytearray(FASTTEXT)
    struct.pack_into(kind, changed, at, value)
    return bytes(changed)


ENTRIES = FASTTEXT.index(b"</s>\0") - 28
"""Where the sizes of the dictionary stand: entries, words, labels, tokens, pruned."""


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (FASTTEXT[:600], "holds less than it says|was cut off"),
        (FASTTEXT[:100], "holds less than it says|was cut off"),
        (FASTTEXT[:20], "was cut off"),
        (fasttext(4, "<i", 7), "of a version of fastText that saiki does not read: 7"),
        (fasttext(ENTRIES + 8, "<i", 2), "is a classifier of fastText"),
        (fasttext(ENTRIES + 20, "<q", 5), "is quantised"),
        (fasttext(8, "<i", 5), r"its matrix must be 75 × 5, and is 75 × 4"),
        (fasttext(ENTRIES + 4, "<i", -3), "is damaged"),
        (FASTTEXT.replace(b"king\0", b"ki\xffg\0"), None),
    ],
)
def test_a_damaged_model_of_fasttext_is_told_in_a_sentence(tmp_path, content, sentence):
    path = put(tmp_path, content, "m.bin")
    if sentence:
        with pytest.raises(InputError, match=f"m.bin .*({sentence})"):
            read(path)
        return
    with pytest.warns(UserWarning, match="the word of row 13 is empty or no UTF-8"):
        loaded = read(path)
    assert len(loaded) == len(loaded.counts) == 14


def test_other_safetensors_are_refused(tmp_path):
    path = tensors.save(tmp_path / "v.safetensors", {"a": torch.ones(2)}, {"kind": "model"})
    with pytest.raises(InputError, match=r"holds something else than word vectors$"):
        read(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="is damaged"):
        read(path)


def test_what_cannot_be_written_is_told_and_nothing_is_left(tmp_path, table):
    with pytest.raises(InputError, match=r"v\.kv must end in \.txt, \.vec .*\.bin .*\.safetensors"):
        write(table, tmp_path / "v.kv")
    with pytest.raises(InputError, match="must end in"):
        write(table, tmp_path / "v.safetensors.gz")
    spaced = Vectors(("a b",), np.ones((1, 2)))
    for name in ("v.txt", "v.bin"):
        with pytest.raises(InputError, match=r"^the word 'a b' .*; a \.safetensors file may hold"):
            write(spaced, tmp_path / name)
    with pytest.raises(InputError, match=r"^the word 'a\\nb' cannot be written"):
        write(Vectors(("a\nb",), np.ones((1, 2))), tmp_path / "v.safetensors")
    (tmp_path / "file").write_text("")
    with pytest.raises(SaikiError, match=r"^cannot write"):
        write(table, tmp_path / "file" / "v.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_files_with_a_few_bytes_changed_are_a_table_or_a_sentence(tmp_path, table):
    draw = np.random.default_rng(0)
    outcomes = [0, 0]
    seeds = [write(table, tmp_path / f"v.{end}").read_bytes() for end in ("txt", "bin")]
    for name, data in zip(("w.txt", "w.bin", "w.bin"), [*seeds, FASTTEXT], strict=True):
        for _ in range(150):
            changed = bytearray(data)
            for at in draw.integers(0, len(data), draw.integers(1, 4)):
                changed[at] = draw.integers(256)
            cut = len(data) if draw.random() < 0.7 else draw.integers(len(data))
            path = put(tmp_path, bytes(changed[:cut]), name)
            result = outcome(path)
            whole = isinstance(result, Vectors)
            assert np.isfinite(result.matrix).all() if whole else sentence(path)
            outcomes[whole] += 1
    assert min(outcomes) > 50


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_reading_takes_the_memory_of_the_matrix_whatever_a_header_says(tmp_path):
    """In a process of its own that may take 1.3 times the matrix more than Python itself does."""
    matrix = np.random.default_rng(0).random((30_000, 400), np.float32)  # 48 MB
    write(Vectors(tuple(map(str, range(len(matrix)))), matrix), tmp_path / "large.bin")
    lies = b"999999999 999\na \1\2\3\4"
    put(tmp_path, lies, "lies.bin")
    put(tmp_path, gzip.compress(lies + bytes(9999)), "packed.bin.gz")
    put(tmp_path, fasttext(8, "<i", 2**31 - 1), "m.bin")
    code = """
        import resource, sys
        from pathlib import Path
        from saiki.errors import InputError
        from saiki.text.vectors import read
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 62_400_000,) * 2)
        for path in sys.argv[1:]:
            try:
                print(len(read(path)))
            except InputError as error:
                print(error)
    """
    names = [str(tmp_path / name) for name in ("large.bin", "lies.bin", "packed.bin.gz", "m.bin")]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *names],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "30000"
    assert [line.split(" ")[0] for line in lines[1:]] == names[1:]

"""Reading and writing files of word vectors, whatever their format."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from saiki import files, inputs
from saiki.errors import InputError
from saiki.inputs import PACKED
from saiki.saving import tensors
from saiki.text.vectors import fasttext, word2vec
from saiki.text.vectors.subwords import SubWords
from saiki.text.vectors.table import Vectors

TEXT, BINARY, OWN = (".txt", ".vec"), (".bin",), (".safetensors",)
_KIND = "word_vectors.v1"
_HEAD = 65_536


def read(path: str | Path) -> Vectors:
    """The vectors that a file holds.

    - text of word2vec, fastText (``.vec``) and GloVe, packed or not (``.gz``, ``.xz``, ``.bz2``);
    - binary files of word2vec (``.bin``), packed or not;
    - models of fastText (``.bin``), with their n-grams and counts;
    - what :func:`write` wrote (``.safetensors``).

    What the file holds decides; its name does where that leaves it open. Words are taken as they
    are. One that is empty, not UTF-8, or there already is left out, and a warning tells how many.

    Raises:
        InputError: there is no such file, or it is damaged, holds a number that is not finite,
            holds more or less than it says, or is none of these; the message names the line.
    """
    path = Path(path)
    with inputs.open_bytes(path) as file:
        head = file.read(_HEAD)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size:
        return _read_own(path)
    reader = _reader(head, path)
    with inputs.open_bytes(path) as file:
        return reader(file, path)


def write(vectors: Vectors, path: str | Path, *, header: bool = True) -> Path:
    """Write them whole or not at all, as the name of the file says: text of word2vec (``.txt``,
    ``.vec``), also packed (``.gz``, ``.xz``, ``.bz2``), its binary format (``.bin``), or
    ``.safetensors``, which alone holds counts and n-grams too. Each is read back to the last bit.

    Args:
        header: whether text begins with the numbers of words and of numbers, as word2vec and
            fastText have it; GloVe does not.

    Raises:
        InputError: the name ends otherwise, or a word holds what separates words in the format.
        SaikiError: the file cannot be written.
    """
    path = Path(path)
    kind = inputs.bare(path).suffix
    if kind not in TEXT + BINARY + OWN or (kind in OWN and path.suffix in PACKED):
        raise InputError(
            f"{path} must end in {', '.join(TEXT)} (text, also packed: {', '.join(PACKED)}), "
            f"{BINARY[0]} (of word2vec) or {OWN[0]}"
        )
    for word in vectors.words:
        if "\n" in word or (" " in word and kind not in OWN):
            raise InputError(
                f"the word {word!r} cannot be written into {path}, where that separates words"
                f"{'' if kind in OWN else f'; a {OWN[0]} file may hold spaces'}"
            )
    if kind in OWN:
        return _write_own(vectors, path)

    def save(temporary: Path) -> None:
        with PACKED.get(path.suffix, open)(temporary, "wb") as file:
            if kind in BINARY:
                word2vec.write_binary(vectors, file)
            else:
                word2vec.write_text(vectors, file, header)

    return files.write(path, save)


def _reader(head: bytes, path: Path) -> Callable[[IO[bytes], Path], Vectors]:
    """What reads a file that begins like this."""
    if head.startswith(fasttext.MAGIC):
        return fasttext.read
    if head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5":
        raise InputError(
            f"{path} is a pickle, as gensim's save writes, and a pickle may run any code when it "
            "is read; have gensim write vectors.save_word2vec_format('vectors.bin', binary=True) "
            "and read that"
        )
    first, _, row = head.partition(b"\n")
    header = word2vec.sizes(first)
    if not header:
        if b"\0" in head or not head.strip():
            raise InputError(
                f"{path} holds no word vectors: neither text, nor a binary file of word2vec or "
                "fastText, nor one that saiki wrote"
            )
        return word2vec.read_text
    text = word2vec.is_text(row, header[1])
    if text or (inputs.bare(path).suffix not in BINARY and b"\0" not in row):
        return word2vec.read_text
    return word2vec.read_binary


def _write_own(vectors: Vectors, path: Path) -> Path:
    words = "\n".join(vectors.words).encode()
    arrays = {"vectors": vectors.matrix, "words": np.frombuffer(words, np.uint8)}
    about: dict[str, Any] = {"kind": _KIND}
    if vectors.counts is not None:
        arrays["counts"] = vectors.counts
    if vectors.subwords:
        arrays["buckets"] = vectors.subwords.buckets
        about |= {"min_n": vectors.subwords.min_n, "max_n": vectors.subwords.max_n}
    return tensors.save(path, {k: torch.tensor(v) for k, v in arrays.items()}, about)


def _read_own(path: Path) -> Vectors:
    loaded, about = tensors.load(path)
    if about.get("kind") != _KIND:
        raise InputError(f"{path} holds something else than word vectors")
    arrays = {name: tensor.numpy() for name, tensor in loaded.items()}
    subwords = None
    if "buckets" in arrays:
        subwords = SubWords(arrays["buckets"], about["min_n"], about["max_n"])
    words = tuple(arrays["words"].tobytes().decode().split("\n"))
    return Vectors(words, arrays["vectors"], arrays.get("counts"), subwords)

"""The binary models of fastText: words, and buckets of n-grams of which others are made."""

import struct
from pathlib import Path
from typing import IO

import numpy as np

from saiki.errors import InputError
from saiki.text.vectors.stream import Rows, Stream
from saiki.text.vectors.subwords import SubWords
from saiki.text.vectors.table import Vectors

MAGIC = struct.pack("<i", 793712314)
_ARGUMENTS = struct.Struct("<12id")
_DICTIONARY = struct.Struct("<iiiqq")
_ENTRY = struct.Struct("<qb")
_MATRIX = struct.Struct("<?qq")


def read(file: IO[bytes], path: Path) -> Vectors:
    """Words with their counts, and n-grams, of a model that was trained without labels.

    The vector of a word is the mean of that which was learned for it as a whole and those of its
    n-grams (Bojanowski et al., Enriching Word Vectors with Subword Information, 2017, section 3.2).
    """
    stream = Stream(file, path)
    stream.read(len(MAGIC))
    (version,) = struct.unpack("<i", stream.read(4))
    size, *_, buckets, min_n, max_n, _, _ = _ARGUMENTS.unpack(stream.read(_ARGUMENTS.size))
    entries, words, labels, _, pruned = _DICTIONARY.unpack(stream.read(_DICTIONARY.size))
    if labels > 0:
        raise InputError(
            f"{path} is a classifier of fastText; its word vectors are not read, only those of "
            "models that were trained with cbow or skipgram"
        )
    if version not in (11, 12) or min(size, words) < 1 or entries != words or buckets < 0:
        raise InputError(
            f"{path} is damaged, or of a version of fastText that saiki does not read: {version}"
        )
    if pruned > 0:
        raise _quantised(path)
    stream.require(words * (1 + _ENTRY.size), f"{words:,} words")
    names, counts = list[bytes](), list[int]()
    for _ in range(words):
        names.append(stream.until(b"\0"))
        counts.append(_ENTRY.unpack(stream.read(_ENTRY.size))[0])
    quantised, rows, columns = _MATRIX.unpack(stream.read(_MATRIX.size))
    if quantised:
        raise _quantised(path)
    if columns != size or rows != words + buckets:
        raise InputError(
            f"{path} is damaged: its matrix must be {words + buckets:,} × {size}, and is "
            f"{rows:,} × {columns:,}"
        )
    stream.require(4 * rows * size, f"{rows:,} vectors of {size} numbers")
    table = Rows(path, "row", 1)
    is_added = [table.add(name, stream.read(4 * size)) for name in names]
    added_counts = np.array(counts, np.int64)[np.array(is_added, bool)]
    subwords = None
    if buckets and 0 < max_n >= min_n:
        data = np.frombuffer(stream.read(4 * buckets * size), "<f4").reshape(buckets, size)
        try:
            subwords = SubWords(data.astype(np.float32, copy=False), max(1, min_n), max_n)
        except InputError as error:
            raise InputError(f"{path} is damaged: {error}") from None
    return table.vectors(added_counts, subwords)


def _quantised(path: Path) -> InputError:
    return InputError(f"{path} is quantised; only the model that it was made of can be read")

"""How long a sound says it is: libsndfile believes the length of the file, and hears half a
recording as if it were whole."""

import struct
from collections.abc import Iterator
from typing import IO

_OPEN = 0x7FFF_0000
"""What a program writes that does not know the length yet, such as one at the end of a pipe, is
this or more in 32 bits."""
_CHUNKS = 10_000


def share_there(file: IO[bytes]) -> float:
    """The share of the bytes of samples told of in the header of a WAV, RF64, W64, AIFF or AU file
    that are there; 1 where the header leaves it open, and for other files."""
    header = _samples_by_header(file)
    size = file.seek(0, 2)
    if header is None:
        return 1.0
    start, length = header
    return 1.0 if length <= 0 else min(1.0, max(0, size - start) / length)


def _samples_by_header(file: IO[bytes]) -> tuple[int, int] | None:
    """Where the samples begin, and how many bytes they take; None where that is left open."""
    head = file.read(40)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        order = ">" if head.startswith(b"RIFX") else "<"
        large = None
        for name, at, length in _chunks(file, order, 12):
            if name == b"ds64":
                file.seek(at + 8)
                large = _unpacked("<Q", file.read(8))
            if name == b"data":
                known = large if length == 0xFFFF_FFFF and large is not None else _closed(length)
                return None if known is None else (at, known)
    elif head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        for name, at, length in _chunks(file, ">", 12):
            if name == b"SSND":
                return None if _closed(length) is None else (at, length)
    elif head[:4] in (b".snd", b"dns."):
        order = ">" if head.startswith(b".snd") else "<"
        start, size = _unpacked(f"{order}I", head[4:8]), _unpacked(f"{order}I", head[8:12])
        if start is not None and size is not None and _closed(size) is not None:
            return start, size
    elif head[:4] == b"riff" and head[24:28] == b"wave":
        for name, at, length in _chunks(file, "<", 40, wide=True):
            if name == b"data":
                return at, length
    return None


def _closed(length: int) -> int | None:
    return length if length < _OPEN else None


def _unpacked(form: str, data: bytes) -> int | None:
    return int(struct.unpack(form, data)[0]) if len(data) == struct.calcsize(form) else None


def _chunks(
    file: IO[bytes], order: str, at: int, wide: bool = False
) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and length of each chunk from ``at`` on. They begin at even places; those of W64,
    with names of 16 bytes and lengths of 8 that count the head too, at places of 8."""
    form, size, step = (f"{order}Q", 24, 8) if wide else (f"{order}I", 8, 2)
    for _ in range(_CHUNKS):
        file.seek(at)
        head = file.read(size)
        length = _unpacked(form, head[size - struct.calcsize(form) :])
        if length is None or (wide and length < size):
            return
        length -= size * wide
        yield head[:4], at + size, length
        at += size + length + -length % step

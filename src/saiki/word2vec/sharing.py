"""Rows that several parts of a block have met: how parts tell each other, and their copies."""

from typing import Any, NamedTuple

from numba import float32, int64, njit, uint64

from saiki.word2vec import AHEAD, LANES, LINE, OUTPUTS_AT_ONCE
from saiki.word2vec.simd import add, fetch, load, multiply_add, place_of, splat, store


class Scratch(NamedTuple):
    """Room for the windows of a block, and for its parts; each part writes to its own."""

    inputs: Any
    """``(parts · windows, most)``: rows, then where they lie; so are ``outputs``, with their
    ``labels`` and ``weights``, which are 0 where room is only filled."""
    outputs: Any
    labels: Any
    weights: Any
    counts: Any
    """``(parts · windows, 2)``: how many inputs and outputs there are."""
    gradients: Any
    """``(parts, most)``: of the scores of one window."""
    means: Any
    """``(parts, size)``: of the inputs of one window."""
    costs: Any
    """``(parts, …)``: the sum of −ln σ over the scores that are counted, and their number."""
    marks: Any
    """``(parts, …)``: a bit is on for each row that the part has met, and by chance for others."""
    others: Any
    """``(parts, …)``: the same for all other parts."""
    held: Any
    """``(parts, …)``: a table of hashes; where it holds 1 more than the key of a row, there is a
    copy, of the number in ``numbers``."""
    numbers: Any
    many: Any
    """``(parts, …)``: how many copies there are."""
    places: Any
    """``(parts, most)``: where the row of each copy is held, and ``whole`` where it lies."""
    whole: Any
    copies: Any
    """``(parts, most · size)``"""


class Room(NamedTuple):
    """Where a part has its numbers."""

    gradients: int
    mean: int
    copies: int


@njit(inline="always")
def _bit(key: Any) -> Any:
    """Where rows are marked, and held, by key."""
    return (uint64(key) * uint64(0x9E3779B97F4A7C15)) >> uint64(32)


@njit(inline="always")
def mark(part: int, key: Any, scratch: Any) -> None:
    """Tell the other parts that a row is met here."""
    bit = _bit(key)
    place = int64(bit >> uint64(6)) & (scratch.marks.shape[1] - 1)
    scratch.marks[part, place] |= uint64(1) << (bit & uint64(63))


@njit(inline="always")
def fetch_row(row: int, low: int, high: int) -> None:
    for d in range(low, high, LINE):
        fetch(row, d)


@njit(inline="always")
def find(part: int, key: Any, row: int, size: int, scratch: Any, room: Any) -> int:
    """Where a part is to change a row: where it lies, or in a copy if others have met it too."""
    bit = _bit(key)
    place = int64(bit >> uint64(6)) & (scratch.others.shape[1] - 1)
    if not (scratch.others[part, place] >> (bit & uint64(63))) & uint64(1):
        return row
    last = scratch.held.shape[1] - 1
    place = int64(bit >> uint64(6)) & last
    while scratch.held[part, place]:
        if scratch.held[part, place] == key + 1:
            return room.copies + 4 * size * scratch.numbers[part, place]
        place = (place + 1) & last
    number = scratch.many[part, 0]
    scratch.held[part, place], scratch.numbers[part, place] = key + 1, number
    scratch.places[part, number], scratch.whole[part, number] = place, row
    scratch.many[part, 0] = number + 1
    fetch_row(row, 0, size)
    return room.copies + 4 * size * number


@njit(inline="always")
def look_around(part: int, parts: int, scratch: Any) -> None:
    """Learn what other parts have met, and forget the copies of the block before."""
    for i in range(scratch.marks.shape[1]):
        met = uint64(0)
        for other in range(parts):
            if other != part:
                met |= scratch.marks[other, i]
        scratch.others[part, i] = met
    for number in range(scratch.many[part, 0]):
        scratch.held[part, scratch.places[part, number]] = 0
    scratch.many[part, 0] = 0


@njit(inline="always")
def locate(
    w: int, part: int, inputs: int, outputs: int, size: int, scratch: Any, room: Any
) -> None:
    """Find the rows of window ``w``."""
    count = scratch.counts[w, 1]
    for a in range(scratch.counts[w, 0]):
        row = scratch.inputs[w, a]
        scratch.inputs[w, a] = find(part, 2 * row, inputs + 4 * size * row, size, scratch, room)
    for j in range(count):
        row = scratch.outputs[w, j]
        place = find(part, 2 * row + 1, outputs + 4 * size * row, size, scratch, room)
        scratch.outputs[w, j] = place
    for j in range(count, count + OUTPUTS_AT_ONCE - 1 if count else 0):
        scratch.outputs[w, j] = scratch.outputs[w, count - 1]


@njit(inline="always")
def make_copies(part: int, size: int, scratch: Any, room: Any) -> None:
    """Copy the rows that others have met too."""
    for i in range(scratch.many[part, 0]):
        copy, row = room.copies + 4 * size * i, scratch.whole[part, i]
        for d in range(0, size, LANES):
            store(copy, d, load(row, d))


@njit(inline="always")
def leave_changes(part: int, size: int, scratch: Any, room: Any) -> None:
    """Leave in each copy what has changed."""
    for i in range(scratch.many[part, 0]):
        copy, row = room.copies + 4 * size * i, scratch.whole[part, i]
        for d in range(0, size, LANES):
            store(copy, d, multiply_add(load(row, d), splat(float32(-1)), load(copy, d)))


@njit(inline="always")
def take_changes(part: int, size: int, low: int, high: int, scratch: Any, room: Any) -> None:
    """Add to the rows what has changed in the copies of a part, from one feature to another."""
    many = scratch.many[part, 0]
    for i in range(-AHEAD, many):
        if i + AHEAD < many:
            fetch_row(room.copies + 4 * size * (i + AHEAD), low, high)
            fetch_row(scratch.whole[part, i + AHEAD], low, high)
        if i >= 0:
            copy, row = room.copies + 4 * size * i, scratch.whole[part, i]
            for d in range(low, high, LANES):
                store(row, d, add(load(copy, d), load(row, d)))


@njit(inline="always")
def room_of(part: int, scratch: Any) -> Any:
    return Room(
        place_of(scratch.gradients) + 4 * part * scratch.gradients.shape[1],
        place_of(scratch.means) + 4 * part * scratch.means.shape[1],
        place_of(scratch.copies) + 4 * part * scratch.copies.shape[1],
    )

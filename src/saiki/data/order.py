"""The order in which examples come."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy

from saiki import processes
from saiki.errors import InputError

Order = Iterator[tuple[numpy.ndarray, tuple[int, ...]]]
"""The numbers of the examples of each batch of all processes, and what else is random in it follows
from."""
POOL = 100
"""Batches whose rows are sorted by length together."""


def endless(batch_size: int, seed: int, start: int = 0) -> Order:
    """Examples of which there are new ones without end, one after another."""
    size = batch_size * processes.count()
    for number in itertools.count(start):
        yield numpy.arange(number * size, (number + 1) * size), (seed, number)


def shuffled(count: int, size: int, seed: int, start: int = 0) -> Iterator[numpy.ndarray]:
    """Batches of ``size`` pairs (place, index), epoch after epoch without a gap.

    Each epoch is a new permutation of the ``count`` indices, drawn from the seed and its number,
    and the epochs lie end to end: place p of the endless row belongs to batch p // size. So all
    batches are of one size, and number ``start`` is known without those before it.
    """
    epoch, order = -1, numpy.empty(0, numpy.int64)
    for batch in itertools.count(start):
        places = numpy.arange(batch * size, (batch + 1) * size)
        indices = numpy.empty_like(places)
        for i, place in enumerate(places.tolist()):
            if place // count != epoch:
                epoch = place // count
                order = numpy.random.default_rng((seed, epoch)).permutation(count)
            indices[i] = order[place % count]
        yield numpy.stack((places, indices), 1)


def batches_of(count: int, batch_size: int) -> int:
    """Batches of an epoch of :func:`passes`."""
    return math.ceil(count / (batch_size * processes.count()))


def passes(count: int, batch_size: int, seed: int, start: int = 0) -> Order:
    """Each epoch is a new permutation of ``count`` examples. Its last batch is smaller, but gives
    each process as much."""
    first, place = divmod(start, batches_of(count, batch_size))
    size = batch_size * processes.count()
    for epoch in itertools.count(first):
        order = numpy.random.default_rng((seed, 0, epoch)).permutation(count)
        for at in range(place * size, count, size):
            rows = order[at : at + size]
            shares = math.ceil(len(rows) / processes.count())
            yield numpy.resize(rows, shares * processes.count()), (seed, 1, epoch, at)
        place = 0


def buckets(
    lengths: Sequence[tuple[int, ...]] | numpy.ndarray, batch_size: int, seed: int, start: int = 0
) -> Order:
    """Rows of similar lengths, epoch after epoch.

    Each epoch has ⌈rows / size⌉ batches, in which each row is once. Their sizes differ by one at
    most, so that no batch is much smaller than the others. Rows are shuffled in every epoch; those
    of ``POOL`` batches are sorted by length together and cut, and the batches shuffled again.

    Args:
        lengths: of each row: one, or several of which the first counts most.
    """
    if not len(lengths):
        raise InputError("there are no rows to make batches of")
    sides = numpy.asarray(lengths).reshape(len(lengths), -1)
    count = batches_of(len(sides), batch_size)
    for epoch in itertools.count(start // count):
        draw = numpy.random.default_rng((seed, epoch))
        order = draw.permutation(len(sides))
        edges = numpy.arange(count + 1) * len(sides) // count
        for at in range(0, count, POOL):
            pool = order[edges[at] : edges[min(at + POOL, count)]]
            pool[:] = pool[numpy.lexsort(sides[pool].T[::-1])]
        batches = numpy.split(order, edges[1:-1])
        for number in draw.permutation(count)[max(0, start - epoch * count) :].tolist():
            yield batches[number], (seed, epoch, number)

"""The order in which examples come."""

import itertools
import math
from collections.abc import Iterator

import numpy

from saiki import processes


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


def passes(
    count: int, batch_size: int, seed: int, start: int = 0
) -> Iterator[tuple[numpy.ndarray, tuple[int, ...]]]:
    """The rows of batches of all processes, and what else is random in each follows from.

    Each epoch is a new permutation of ``count`` indices. Its last batch is smaller, but gives each
    process as much.
    """
    first, place = divmod(start, batches_of(count, batch_size))
    size = batch_size * processes.count()
    for epoch in itertools.count(first):
        order = numpy.random.default_rng((seed, 0, epoch)).permutation(count)
        for at in range(place * size, count, size):
            rows = order[at : at + size]
            shares = math.ceil(len(rows) / processes.count())
            yield numpy.resize(rows, shares * processes.count()), (seed, 1, epoch, at)
        place = 0

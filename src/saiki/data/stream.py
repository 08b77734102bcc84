"""The order in which examples come."""

import itertools
from collections.abc import Iterator

import numpy


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

"""What all datasets have in common: the order of examples, parts of processes, epochs."""

import itertools
import math
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch

from saiki import processes
from saiki.data.dataset import IndexedDataset
from saiki.optimisation import Batching


class Numbers(IndexedDataset):
    """Each example is its number; beside it what is known of the batch."""

    count: int | None = None
    lengths: tuple[int, ...] | None = None
    draws: ClassVar = []

    def batch(self, draw):
        self.draws.append(draw)
        return torch.from_numpy(draw.own), torch.tensor(draw.update)


def some(data, count, seed=3, start=0):
    return [rows.tolist() for rows, _ in itertools.islice(data.batches(seed, start), count)]


def of(count=None, lengths=None, **batching):
    return Numbers(Batching(**batching), count, lengths)


KINDS = {
    "without end": of(batch_size=4),
    "an epoch after the other": of(10, batch_size=4),
    "of similar lengths": of(10, tuple(range(10)), batch_size=4),
}


@pytest.mark.parametrize("kind", KINDS)
def test_batches_go_on_from_any_number(kind):
    whole = some(KINDS[kind], 9)
    for start in range(9):
        assert some(KINDS[kind], 9 - start, start=start) == whole[start:]


@pytest.mark.parametrize("kind", KINDS)
def test_the_processes_share_each_batch(kind, monkeypatch):
    whole = some(KINDS[kind], 5)
    assert len(whole[0]) == 4 - (kind == "of similar lengths")  # where all are nearly of one size
    data = Numbers(Batching(batch_size=2), KINDS[kind].count, KINDS[kind].lengths)
    monkeypatch.setattr(processes, "count", lambda: 2)
    parts = []
    for rank in range(2):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        parts.append(some(data, 5))
    assert [a + b for a, b in zip(*parts, strict=True)] == whole


@pytest.mark.parametrize("kind", ["an epoch after the other", "of similar lengths"])
def test_an_epoch_has_each_example_once(kind):
    data = KINDS[kind]
    assert data.epoch == 3
    epochs = [[*itertools.chain(*some(data, 3, start=3 * number))] for number in range(3)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert some(data, 3, seed=4) != some(data, 3)
    if data.lengths:
        assert all(max(rows) - min(rows) == len(rows) - 1 for rows in some(data, 3))


def test_examples_without_end_are_numbered_one_after_another():
    data = KINDS["without end"]
    assert math.isinf(data.epoch)
    assert [*itertools.chain(*some(data, 3))] == list(range(12))
    [draw], Numbers.draws[:] = Numbers.draws[-1:], []
    assert (draw.seed, draw.key) == (3, (3, 2))


def test_several_batches_make_one_update():
    data = of(10, batch_size=4, accumulate=3)
    assert data.epoch == 1
    updates = [int(update) for _, update in itertools.islice(data.batches(0, 2), 8)]
    assert updates == [0, 1, 1, 1, 2, 2, 2, 3]


def test_what_is_random_follows_from_the_seed_and_the_place():
    for kind in KINDS.values():
        Numbers.draws.clear()
        some(kind, 12)
        some(kind, 12, seed=4)
        keys = [draw.key for draw in Numbers.draws]
        assert len({*keys}) == 24
        assert [draw.number for draw in Numbers.draws] == [*range(12)] * 2
        numbers = np.random.default_rng(keys[0]).random(3), np.random.default_rng(keys[1]).random(3)
        assert not np.array_equal(*numbers)


class Parted(IndexedDataset):
    parts = SimpleNamespace(train=range(7), test=range(2))

    def batch(self, draw):
        return torch.from_numpy(draw.own)


def test_parts_say_how_many_examples_there_are():
    data = Parted(Batching(batch_size=2))
    assert data.examples() == (7, 2)
    assert data.epoch == 4
    assert of().examples() is None
    assert of(10).examples() is None


def test_the_example_of_an_input_is_the_first_part_of_a_batch():
    assert of(10, batch_size=3).example().shape == (3,)

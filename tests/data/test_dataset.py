"""What all datasets have in common: the order of examples, parts of processes, epochs."""

import itertools
import math
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from saiki import processes
from saiki.data.dataset import POOL, IndexedDataset, buckets, shuffled
from saiki.errors import InputError
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


def batches(number, *arguments, start=0):
    return list(itertools.islice(shuffled(*arguments, start=start), number))


def indices(number, *arguments):
    return np.concatenate(batches(number, *arguments))[:, 1]


@pytest.mark.parametrize(("count", "size"), [(10, 3), (7, 7), (5, 8), (3, 20), (1, 4), (12, 4)])
def test_every_epoch_is_a_permutation(count, size):
    epochs = 6
    row = indices(-(-epochs * count // size), count, size, 0)[: epochs * count]
    for epoch in row.reshape(epochs, count):
        assert sorted(epoch) == list(range(count))


@pytest.mark.parametrize(("count", "size"), [(10, 3), (5, 8), (3, 20), (1, 4)])
def test_all_batches_are_of_one_size_across_the_ends_of_epochs(count, size):
    order = batches(25, count, size, 4)
    assert [batch.shape for batch in order] == [(size, 2)] * 25
    assert np.concatenate(order)[:, 0].tolist() == list(range(25 * size))


@pytest.mark.parametrize(("count", "size"), [(10, 3), (5, 8), (1, 4)])
def test_the_row_can_be_entered_at_any_batch(count, size):
    whole = batches(12, count, size, 2)
    for start in range(12):
        for ours, want in zip(
            batches(12 - start, count, size, 2, start=start), whole[start:], strict=True
        ):
            np.testing.assert_array_equal(ours, want)


def test_batches_of_another_size_cut_the_same_row():
    np.testing.assert_array_equal(indices(30, 11, 4, 5), indices(12, 11, 10, 5))


def test_epochs_differ_from_each_other_and_seeds_too():
    orders = [tuple(indices(1, 50, 50, seed)) for seed in range(5)]
    orders += [tuple(batches(1, 50, 50, 0, start=epoch)[0][:, 1]) for epoch in range(1, 5)]
    assert len(set(orders)) == 9
    assert tuple(range(50)) not in orders
    assert orders[0] == tuple(indices(1, 50, 50, 0))


def test_each_index_is_as_likely_at_each_place():
    # of 2,000 permutations of 4, each index is first in 500, give or take 4 deviations
    first = np.array([next(shuffled(4, 4, seed))[0, 1] for seed in range(2_000)])
    counts = np.bincount(first, minlength=4)
    assert np.abs(counts - 500).max() < 4 * np.sqrt(2_000 * 0.25 * 0.75)


# Batches of similar lengths.

sizes = st.integers(1, 60), st.integers(1, 9)


def bucketed(*arguments):
    return (rows for rows, _ in buckets(*arguments))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(*sizes, st.integers(0, 5), st.integers(0, 40))
def test_each_row_is_in_an_epoch_once_in_batches_of_nearly_one_size(count, size, seed, start):
    lengths = np.random.default_rng(seed).integers(1, 9, count)
    per_epoch = -(-count // size)
    batches = list(itertools.islice(bucketed(lengths, size, seed), 3 * per_epoch))
    for epoch in range(3):
        of_epoch = batches[epoch * per_epoch : (epoch + 1) * per_epoch]
        assert sorted(np.concatenate(of_epoch)) == list(range(count))
        assert {len(batch) for batch in of_epoch} <= {count // per_epoch, -(-count // per_epoch)}
        assert max(map(len, of_epoch)) <= size
    later = itertools.islice(bucketed(lengths, size, seed, start), 5)
    wanted = itertools.islice(bucketed(lengths, size, seed), start, start + 5)
    for batch, other in zip(later, wanted, strict=True):
        np.testing.assert_array_equal(batch, other)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(*sizes, st.integers(0, 5))
def test_rows_of_a_batch_have_similar_lengths(count, size, seed):
    lengths = [
        tuple(pair) for pair in np.random.default_rng(seed).integers(1, 5, (count, 2)).tolist()
    ]
    batches = itertools.islice(bucketed(lengths, size, seed), -(-count // size))
    spans = sorted(
        (min(of_batch), max(of_batch)) for of_batch in ([lengths[i] for i in b] for b in batches)
    )
    for (_, longest), (shortest, _) in itertools.pairwise(spans):
        assert longest <= shortest  # all are sorted together, as they are fewer than POOL batches


def test_rows_are_shuffled_between_epochs_and_with_the_seed():
    lengths = np.ones(64, int)
    per_epoch = 8
    epochs = [
        np.concatenate(
            list(itertools.islice(bucketed(lengths, 8, seed, start), per_epoch))
        ).tolist()
        for seed, start in ((0, 0), (0, per_epoch), (1, 0))
    ]
    assert len({tuple(order) for order in epochs}) == 3
    assert epochs[0] != sorted(epochs[0])


def test_batches_of_all_lengths_come_in_any_order():
    firsts = [lengths[0] for lengths in itertools.islice(bucketed(np.arange(400), 4, 0), 100)]
    assert firsts != sorted(firsts)
    assert abs(np.corrcoef(firsts, np.arange(100))[0, 1]) < 0.3


def test_padding_is_little_where_rows_are_many():
    lengths = np.random.default_rng(0).integers(1, 50, 3 * POOL * 8)
    batches = list(itertools.islice(bucketed(lengths, 8, 0), 3 * POOL))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded / lengths.sum() < 1.02
    assert sorted(np.concatenate(batches)) == list(range(len(lengths)))


def test_no_rows_have_no_batches():
    with pytest.raises(InputError, match="no rows"):
        next(buckets([], 4, 0))

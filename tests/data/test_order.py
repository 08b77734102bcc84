"""The order of examples: permutations end to end, cut into batches of one size."""

import itertools

import numpy as np
import pytest

from saiki.data.order import shuffled


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
    found = batches(25, count, size, 4)
    assert [batch.shape for batch in found] == [(size, 2)] * 25
    assert np.concatenate(found)[:, 0].tolist() == list(range(25 * size))


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

"""Batches made in advance: the same, in order, and none of the thread's troubles lost."""

import threading
import time

import pytest

from saiki.training.prefetch import prefetch


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_items_come_in_their_order(depth):
    with prefetch(iter(range(50)), depth) as items:
        assert list(items) == list(range(50))


def test_a_thread_works_ahead_as_far_as_it_may_and_no_further():
    made = []

    def slow_to_take():
        for i in range(20):
            made.append(i)
            yield i

    with prefetch(slow_to_take(), 3) as items:
        assert next(items) == 0
        deadline = time.monotonic() + 5
        while len(made) < 5 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.05)
        assert len(made) == 5  # one taken, three waiting, one at the door
    assert made == list(range(5))


@pytest.mark.parametrize("depth", [0, 2])
def test_an_error_comes_where_its_item_would_have_come(depth):
    def broken():
        yield 1
        yield 2
        raise ZeroDivisionError("at the third")

    with prefetch(broken(), depth) as items:
        assert [next(items), next(items)] == [1, 2]
        with pytest.raises(ZeroDivisionError, match="at the third"):
            next(items)


def endless():
    while True:
        yield 0


def test_no_thread_outlives_the_block():
    before = threading.active_count()
    with prefetch(endless(), 2) as items:
        next(items)
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    with pytest.raises(KeyError), prefetch(endless(), 2) as items:
        raise KeyError
    assert threading.active_count() == before

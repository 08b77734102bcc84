"""Windows around the origins of forecasts: what they hold, and that nothing later is among it."""

import numpy as np
import pytest
import torch

from saiki.data.series.origins import Origins, Split, Timelines
from saiki.errors import InputError


def make(lengths=(12, 7), look_back=4, horizon=3, begin=1):
    """Prime-like numbers say from where each comes: 100 times the column, and the row."""
    values = [100.0 * (n + 1) + np.arange(length) for n, length in enumerate(lengths)]
    known = [np.stack((v, -v), 1) for v in values]
    observed = [10 * v[:, None] for v in values]
    ranges = [(begin, length) for length in lengths]
    return Origins(Timelines(values, known, observed, look_back, horizon), ranges), values


def test_a_window_holds_what_is_before_its_origin_and_what_comes_after():
    origins, values = make()
    assert len(origins) == (12 - 3) + (7 - 3)
    [(window, rows)] = origins.in_order(100)
    for i, row in enumerate(rows):
        t, column = int(origins.origin[row]), values[origins.number[row]]
        past = np.concatenate((np.full(4, np.nan), column))[t : t + 4]
        np.testing.assert_array_equal(window.past[i].numpy(), past)
        np.testing.assert_array_equal(window.future[i].numpy(), column[t : t + 3])
        assert int(window.column[i]) == origins.number[row] + 1
        around = np.nan_to_num(np.concatenate((past, column[t : t + 3])))
        np.testing.assert_array_equal(window.known[i].numpy(), np.stack((around, -around), 1))
        np.testing.assert_array_equal(window.observed[i, :, 0].numpy(), 10 * around[:4])


def test_what_columns_have_in_common_is_held_once_and_may_reach_further():
    values = [100.0 * n + np.arange(9) for n in (1, 2, 3)]
    known = np.arange(12)[:, None] * 1.0
    other = known + 50
    columns = Timelines(values, [known, known, other], [np.zeros((9, 0))] * 3, 4, 3)
    assert len(columns.known.rows) == 2 * (4 + 12 + 3)
    origins = Origins(columns, [(5, 12)] * 3)
    [(window, rows)] = origins.in_order(100)
    for i, row in enumerate(rows):
        t, n = int(origins.origin[row]), int(origins.number[row])
        np.testing.assert_array_equal(window.past[i], values[n][t - 4 : t])
        wanted = (other if n == 2 else known)[t - 4 : t + 3]
        np.testing.assert_array_equal(window.known[i], wanted)


def test_what_changes_after_an_origin_changes_nothing_that_a_forecast_goes_by():
    random = np.random.default_rng(0)
    values = [random.standard_normal(n) for n in (30, 20)]
    empty = [np.zeros((len(v), 0)) for v in values]
    ranges = [(5, 30), (5, 20)]
    before, _ = next(Origins(Timelines(values, empty, empty, 6, 2), ranges).in_order(100))
    for moment in (8, 15, 19):
        changed = [np.where(np.arange(len(v)) >= moment, 1e6, v) for v in values]
        origins = Origins(Timelines(changed, empty, empty, 6, 2), ranges)
        after, rows = next(origins.in_order(100))
        earlier = origins.origin[rows] <= moment
        torch.testing.assert_close(after.past[earlier], before.past[earlier], equal_nan=True)
        assert not torch.equal(after.past[~earlier], before.past[~earlier])


def test_each_origin_has_a_window_of_its_own():
    origins, _ = make((40, 30))
    window = origins.window(np.arange(len(origins)))
    seen = {*zip(window.column.tolist(), window.future[:, 0].tolist(), strict=True)}
    assert len(seen) == len(origins)


def test_every_so_many_origins_of_each_column():
    origins, _ = make((14, 11), begin=2)
    rows = np.concatenate([rows for _, rows in origins.in_order(2, every=4)])
    assert origins.origin[rows].tolist() == [2, 6, 10, 2, 6]


def test_parts_follow_each_other():
    assert Split.of(100, 0, 0.1, 0.2) == (70, 80, 100, 100)
    assert Split.of(17420, 8640, 2880, 2880) == (8640, 11520, 14400, 14400)
    with pytest.raises(InputError, match="10 rows cannot be parted into 8 to learn from, 2 that"):
        Split.of(10, 8, 2, 2)
    with pytest.raises(InputError, match="a forecast of 3 rows needs 4"):
        make((3, 2))

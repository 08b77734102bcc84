"""Changes and returns that networks read, and the values that come of them."""

import numpy as np
import pytest
import torch

from saiki.errors import InputError
from saiki.nn.series_scaling import WindowScaling


@pytest.fixture
def prices():
    """Two columns of prices, of which the second is a hundred times as high."""
    random = np.random.default_rng(0)
    returns = 0.02 * random.standard_normal((2, 300))
    return torch.from_numpy(np.array([[5.0], [500.0]]) * np.exp(returns.cumsum(1)))


@pytest.mark.parametrize("kind", ["difference", "log-return"])
def test_changes_add_up_to_what_they_are_changes_of(kind, prices):
    scaling = WindowScaling(2, kind).double()
    scaling.fit([*prices])
    number = torch.tensor([1, 2])
    of = torch.log if kind == "log-return" else lambda x: x
    deviation = of(prices).diff(dim=1).std(1, correction=0)
    torch.testing.assert_close(scaling.deviation[1:], deviation)
    z, (last, unit) = scaling(prices[:, :50], number)
    assert (z[:, 0] == 0).all()
    torch.testing.assert_close(z[:, 1:], of(prices[:, :50]).diff(dim=1) / deviation[:, None])
    torch.testing.assert_close(last[:, 0], prices[:, 49])
    coming, _ = scaling(prices[:, 49:60], number)
    restored = scaling.undo(coming.cumsum(1)[:, 1:], (last, unit))
    torch.testing.assert_close(restored, prices[:, 50:60])
    errors = deviation * (prices[:, 49] if kind == "log-return" else 1)
    torch.testing.assert_close(scaling.unit(prices[:, :50], number), errors)
    spread = errors if kind == "log-return" else prices.std(1, correction=0)
    torch.testing.assert_close(scaling.error_unit(prices[:, :50], number), spread)
    if kind == "difference":
        new = scaling.error_unit(prices[:, :50], torch.zeros(2, dtype=torch.long))
        torch.testing.assert_close(new, prices[:, :50].std(1, correction=0))


def test_a_return_knows_no_level(prices):
    scaling = WindowScaling(1, "log-return").double()
    scaling.fit([prices[0]])
    number = torch.ones(2, dtype=torch.long)
    both = torch.stack([prices[0, :50], 70 * prices[0, :50]])
    z, scales = scaling(both, number)
    torch.testing.assert_close(z[0], z[1])
    values = scaling.undo(torch.tensor([[1.0], [1.0]]).double(), scales)
    torch.testing.assert_close(values[1], 70 * values[0])
    # of a column that nobody learned from the deviation is that of the window
    new, _ = scaling(both, torch.zeros(2, dtype=torch.long))
    assert new[0, 1:].std(correction=0) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["difference", "log-return"])
def test_a_gap_is_no_change(kind, prices):
    scaling = WindowScaling(2, kind).double()
    prices[0, 20] = torch.nan
    prices[1, 48:50] = torch.nan
    scaling.fit([*prices])
    assert scaling.deviation.isfinite().all()
    z, (last, _) = scaling(prices[:, :50], torch.tensor([1, 2]))
    assert z.isfinite().all()
    assert z[0, 20] == z[0, 21] == z[1, 48] == 0
    assert z[0, 19] != 0
    assert last[1] == prices[1, 47]


def test_what_has_no_logarithm_is_refused():
    with pytest.raises(InputError, match="above 0, and profit holds -2; take the scaling diff"):
        WindowScaling(1, "log-return").check(torch.tensor([1.0, -2.0, torch.nan]), "profit")
    WindowScaling(1, "difference").check(torch.tensor([1.0, -2.0]), "profit")


@pytest.mark.parametrize("kind", ["none", "difference"])
def test_what_single_precision_cannot_tell_apart_is_refused(kind, prices):
    scaling = WindowScaling(1, kind)
    scaling.check(prices[1] + 1e5, "price")
    scaling.check(torch.full((9,), 1e12), "price")  # nothing changes
    scaling.check(torch.tensor([1e12, torch.nan]), "price")
    scaling.check(torch.tensor([torch.nan, torch.nan]), "price")
    with pytest.raises(
        InputError, match=r"price holds numbers as large as 1e\+09, which change by"
    ):
        scaling.check(prices[1] + 1e9, "price")

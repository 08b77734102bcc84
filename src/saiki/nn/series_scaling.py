"""Series brought to one scale, and back."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saiki.errors import InputError
from saiki.saving.pretrained import DescribedModule

SCALINGS = ("none", "last", "standard", "size")
SMALLEST = 1e-5
"""Of a scale, in units of that of the column: below it a window is constant."""


class WindowScaling(DescribedModule, name="window_scaling.v1"):
    """Takes the level of a window away before a network reads it, and adds it to what it forecasts,
    so that a series that wanders is the same to it at every level (Kim et al. 2022).

    ============= ====================================== ========================================
    ``none``      m = μ                                  s = σ
    ``last``      m = the last known value of the window s = σ
    ``standard``  m = the mean of the window             s = its standard deviation
    ``size``      m = 0                                  s = 1 + the mean of abs(x) of the column
    ============= ====================================== ========================================

    μ and σ are mean and standard deviation of the column in what is learned from; they are part of
    the model. ``size`` is for counts, which cannot be shifted (Salinas et al. 2020, §3.3). A gap,
    NaN, becomes m, which is z = 0.

    Args:
        columns: for which μ and σ are kept; of others, number 0, they are those of the window.
        kind: one of the above.

    Raises:
        InputError: there is no such kind.
    """

    mean: Tensor
    deviation: Tensor
    size: Tensor

    def __init__(self, columns: int, kind: str = "last") -> None:
        super().__init__()
        if kind not in SCALINGS:
            raise InputError(f"scaling must be one of {', '.join(SCALINGS)}, got {kind!r}")
        self.kind = kind
        self.register_buffer("mean", torch.zeros(columns + 1))
        self.register_buffer("deviation", torch.ones(columns + 1))
        self.register_buffer("size", torch.ones(columns + 1))

    def fit(self, columns: Sequence[Tensor]) -> None:
        """Take μ and σ from the values of each column that are learned from, NaN left out."""
        if len(columns) != len(self.mean) - 1:
            raise InputError(f"there are {len(self.mean) - 1} columns, got {len(columns)}")
        for number, values in enumerate(columns, 1):
            real = values[~values.isnan()].double()
            deviation = real.std(correction=0) if len(real) else real.new_ones(())
            self.mean[number] = real.mean() if len(real) else 0.0
            self.deviation[number] = deviation if deviation > 0 else 1.0
            self.size[number] = 1 + real.abs().mean() if len(real) else 1.0

    def of_column(self, column: Tensor) -> tuple[Tensor, Tensor]:
        """μ and σ of these columns, ``(rows,)`` each."""
        return self.mean[column], self.deviation[column]

    def forward(self, x: Tensor, column: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """z of windows ``(rows, time)``, and m and s, ``(rows, 1)`` each."""
        is_known = ~x.isnan()
        mean = self.mean[column][:, None]
        count = is_known.sum(1, keepdim=True).clamp(min=1)
        values = x.nan_to_num(nan=0.0)
        of_window = values.sum(1, keepdim=True) / count
        is_new = (column == 0)[:, None]
        mean = torch.where(is_new, of_window, mean)
        deviation = self.unit(x, column)[:, None]
        if self.kind == "last":
            steps = torch.arange(x.shape[1], device=x.device)
            last = torch.where(is_known, steps, -1).amax(1, keepdim=True).clamp(min=0)
            mean = values.gather(1, last)
        elif self.kind == "size":
            size = 1 + values.abs().sum(1, keepdim=True) / count
            mean = torch.zeros_like(mean)
            deviation = torch.where(is_new, size, self.size[column][:, None])
        elif self.kind == "standard":
            spread = _spread(x)[:, None]
            mean, deviation = of_window, torch.maximum(spread, SMALLEST * deviation)
        z = torch.where(is_known, (values - mean) / deviation, 0.0)
        return z, (mean, deviation)

    def unit(self, x: Tensor, column: Tensor) -> Tensor:
        """σ of the column of each window, ``(rows,)``; of a column that was not learned from, that
        of the window, or 1 where it is constant."""
        spread = _spread(x)
        own = torch.where(spread > 0, spread, torch.ones_like(spread))
        return torch.where(column == 0, own, self.deviation[column])

    def undo(self, z: Tensor, scales: tuple[Tensor, Tensor]) -> Tensor:
        """x of ``z: (rows, time, …)``."""
        mean, deviation = (part.view(-1, *[1] * (z.ndim - 1)) for part in scales)
        return mean + deviation * z

    def equation(self) -> str:
        how = {
            "none": "m and s mean and deviation of the column",
            "last": "m the last value of the window, s the deviation of the column",
            "standard": "m and s mean and deviation of the window",
            "size": "m = 0, s 1 + the mean size of the column",
        }
        return f"z = (x − m) / s, {how[self.kind]}"


def _spread(x: Tensor) -> Tensor:
    """The standard deviation of each window, over what is known."""
    known = ~x.isnan()
    count = known.sum(1).clamp(min=1)
    values = x.nan_to_num(nan=0.0)
    around = (values - (values.sum(1) / count)[:, None]) * known
    return (around.square().sum(1) / count).sqrt()

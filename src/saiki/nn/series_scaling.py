"""Series brought to one scale, and back."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from saiki.errors import InputError
from saiki.saving.pretrained import DescribedModule

SCALINGS = ("none", "last", "standard", "difference", "log-return", "size")
COARSE = 0.1
"""Of a change from row to row: by more than that values may not be rounded."""
SMALLEST = 1e-5
"""Of a scale, in units of that of the column: below it a window is constant."""


class WindowScaling(DescribedModule, name="window_scaling.v1"):
    """Takes the level of a window away before a network reads it, and adds it to what it forecasts,
    so that a series that wanders is the same to it at every level (Kim et al. 2022).

    ============== ====================================== =======================================
    ``none``       m = μ                                  s = σ
    ``last``       m = the last known value of the window s = σ
    ``standard``   m = the mean of the window             s = its standard deviation
    ``size``       m = 0                                  s = 1 + the mean of abs(x) of the column
    ``difference`` m = the last known value               s = σ of xᵗ − xᵗ⁻¹
    ``log-return`` m = the last known value               s = σ of ln xᵗ − ln xᵗ⁻¹
    ============== ====================================== =======================================

    μ and σ are mean and standard deviation of the column in what is learned from; they are part of
    the model. ``size`` is for counts, which cannot be shifted (Salinas et al. 2020, §3.3). A gap,
    NaN, becomes m, which is z = 0.

    With ``difference`` z is the change at each step, (xᵗ − xᵗ⁻¹) / s, and what is forecast is the
    change since m, x = m + s z, whatever the level. With ``log-return`` the same is done to ln x:
    zᵗ = (ln xᵗ − ln xᵗ⁻¹) / s and x = m exp(s z), so that prices of 10 and of 1,000 are alike, and
    a quantile of the return is one of the price. The first step, and one beside a gap, is z = 0.

    Args:
        columns: for which μ and σ are kept; of others, number 0, they are those of the window.
        kind: one of the above.

    Raises:
        InputError: there is no such kind.
    """

    mean: Tensor
    deviation: Tensor
    level_deviation: Tensor
    size: Tensor

    def __init__(self, columns: int, kind: str = "last") -> None:
        super().__init__()
        if kind not in SCALINGS:
            raise InputError(f"scaling must be one of {', '.join(SCALINGS)}, got {kind!r}")
        self.kind = kind
        self.register_buffer("mean", torch.zeros(columns + 1))
        self.register_buffer("deviation", torch.ones(columns + 1))
        self.register_buffer("level_deviation", torch.ones(columns + 1))
        self.register_buffer("size", torch.ones(columns + 1))

    def fit(self, columns: Sequence[Tensor]) -> None:
        """Take μ and σ from the values of each column that are learned from, NaN left out."""
        if len(columns) != len(self.mean) - 1:
            raise InputError(f"there are {len(self.mean) - 1} columns, got {len(columns)}")
        for number, values in enumerate(columns, 1):
            real = values[~values.isnan()].double()
            steps = self._steps(values.double()) if self.is_of_changes else real
            self.mean[number] = real.mean() if len(real) else 0.0
            self.deviation[number] = _deviation_of(steps[~steps.isnan()])
            self.level_deviation[number] = _deviation_of(real)
            self.size[number] = 1 + real.abs().mean() if len(real) else 1.0

    @property
    def is_of_changes(self) -> bool:
        """Whether a network reads how a series changes, and not how high it is."""
        return self.kind in ("difference", "log-return")

    def _steps(self, x: Tensor) -> Tensor:
        """xᵗ − xᵗ⁻¹ along the last dimension, or the same of ln x; NaN beside a gap."""
        return (x.log() if self.kind == "log-return" else x).diff()

    def check(self, values: Tensor, name: str) -> None:
        """Whether a series can be scaled so.

        Raises:
            InputError: a logarithm is asked for, and there are values that have none; or values are
                so far from 0 that single precision does not tell one from the next.
        """
        real = values[~values.isnan()].double()
        change, size = real.diff().square().mean().sqrt(), real.abs().amax() if len(real) else 0.0
        if change > 0 and size * torch.finfo(torch.float32).eps > COARSE * change:
            raise InputError(
                f"{name} holds numbers as large as {float(size):.6g}, which change by "
                f"{float(change):.3g} from row to row: too little for single precision, in which "
                "they are read; subtract what they have in common"
            )
        if self.kind == "log-return" and bool((values <= 0).any()):
            lowest = float(values[values <= 0].min())
            raise InputError(
                f"a log-return is of values above 0, and {name} holds {lowest:g}; take the scaling "
                "difference"
            )

    def forward(self, x: Tensor, column: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """z of windows ``(rows, time)``, and m and s, ``(rows, 1)`` each; see :meth:`undo`."""
        is_known = ~x.isnan()
        mean = self.mean[column][:, None]
        count = is_known.sum(1, keepdim=True).clamp(min=1)
        values = x.nan_to_num(nan=0.0)
        of_window = values.sum(1, keepdim=True) / count
        is_new = (column == 0)[:, None]
        mean = torch.where(is_new, of_window, mean)
        deviation = self._deviation(x, column)[:, None]
        if self.is_of_changes:
            change = F.pad(self._steps(x), (1, 0)).nan_to_num(nan=0.0)
            return change / deviation, (_last(x), deviation)
        if self.kind == "last":
            mean = _last(x)
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
        """What errors count in while a network learns from windows, ``(rows,)``: σ of its column,
        of changes where those are forecast, for a log-return times the last known value. Of a
        column that was not learned from it is that of the window, or 1 where that is constant."""
        deviation = self._deviation(x, column)
        return deviation * _last(x)[:, 0] if self.kind == "log-return" else deviation

    def error_unit(self, x: Tensor, column: Tensor) -> Tensor:
        """What errors are told in, ``(rows,)``: the same whether changes are read or not, σ of the
        values of the column; but for log-returns, see :meth:`unit`."""
        if self.kind != "difference":
            return self.unit(x, column)
        return torch.where(column == 0, _positive(_spread(x)), self.level_deviation[column])

    def _deviation(self, x: Tensor, column: Tensor) -> Tensor:
        """σ of the column of each window, or of the window; see :meth:`unit`."""
        own = _positive(_spread(self._steps(x) if self.is_of_changes else x))
        return torch.where(column == 0, own, self.deviation[column])

    def undo(self, z: Tensor, scales: tuple[Tensor, Tensor]) -> Tensor:
        """x of ``z: (rows, time, …)``: m + s z, or for a log-return m exp(s z)."""
        mean, deviation = (part.view(-1, *[1] * (z.ndim - 1)) for part in scales)
        return mean * (deviation * z).exp() if self.kind == "log-return" else mean + deviation * z

    def equation(self) -> str:
        scales = {
            "none": "m and s mean and deviation of the column",
            "last": "m the last value of the window, s the deviation of the column",
            "standard": "m and s mean and deviation of the window",
            "size": "m = 0, s 1 + the mean size of the column",
            "difference": "m the last value of the window, s the deviation of all such changes",
            "log-return": "m the last value of the window, s the deviation of all such changes",
        }
        z = {"difference": "zᵗ = (xᵗ − xᵗ⁻¹) / s", "log-return": "zᵗ = (ln xᵗ − ln xᵗ⁻¹) / s"}
        return f"{z.get(self.kind, 'z = (x − m) / s')}, {scales[self.kind]}"

    def inverse(self, z: str) -> str:
        """How :meth:`undo` makes x of it, as an equation."""
        return f"m exp(s {z})" if self.kind == "log-return" else f"m + s {z}"


def _deviation_of(values: Tensor) -> Tensor | float:
    """That of all of them; 1 where there is none."""
    deviation = values.std(correction=0) if len(values) else torch.zeros(())
    return deviation if deviation > 0 else 1.0


def _positive(spread: Tensor) -> Tensor:
    return torch.where(spread > 0, spread, torch.ones_like(spread))


def _last(x: Tensor) -> Tensor:
    """The last known value of each window, ``(rows, 1)``; 0 where there is none."""
    steps = torch.arange(x.shape[1], device=x.device)
    last = torch.where(x.isnan(), -1, steps).amax(1, keepdim=True).clamp(min=0)
    return x.nan_to_num(nan=0.0).gather(1, last)


def _spread(x: Tensor) -> Tensor:
    """The standard deviation of each window, over what is known."""
    known = ~x.isnan()
    count = known.sum(1).clamp(min=1)
    values = x.nan_to_num(nan=0.0)
    around = (values - (values.sum(1) / count)[:, None]) * known
    return (around.square().sum(1) / count).sqrt()

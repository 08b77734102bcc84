"""A linear map from the past to what follows, fitted at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from saiki.errors import InputError
from saiki.saving.pretrained import DescribedModule

RIDGES = (1e-4,)
"""λ; see :meth:`LinearForecaster.fit_`."""
VALUES = 2**22
"""Of windows that are held at once while fitting."""


class LinearForecaster(DescribedModule, name="linear_forecaster.v1"):
    """DLinear (Zeng et al. 2023, §4): a moving average splits the past into trend and rest, and a
    linear map along time leads from each to what follows.

    t = average(x),  r = x − t,  y = W t + V r + b

    The average is over ``window`` steps around each, the first and the last value going on beyond
    the ends. Unfitted, it forecasts the mean of the past. All is in the units of the series; one
    map for several columns is fair to them where they are standardised.

    >>> model = LinearForecaster(look_back=8, horizon=2).fit_([torch.arange(40.0)[:, None]])
    >>> model(torch.arange(100.0, 108.0).view(1, 8, 1))[0, :, 0].detach().round(decimals=1)
    tensor([108., 109.])

    Args:
        look_back: steps of the past that it reads.
        horizon: steps that it forecasts.
        columns: of a series, each with a map of its own; 0: all share one, as many as there are.
        window: steps of the moving average, odd.
        from_last: whether the last value is taken off before and put back on after (NLinear,
            ibid.), for series whose level changes.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self, look_back: int, horizon: int, columns: int = 0, window: int = 25,
        from_last: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if min(look_back, horizon, columns + 1) < 1 or window < 1 or window % 2 == 0:
            raise InputError(
                "look_back and horizon must be 1 or more, columns 0 or more and window odd, got "
                f"{look_back}, {horizon}, {columns} and {window}"
            )
        self.look_back, self.horizon, self.columns = look_back, horizon, columns
        self.from_last = from_last
        maps = max(1, columns)
        self.trend = nn.Parameter(torch.full((maps, horizon, look_back), 1 / look_back))
        self.rest = nn.Parameter(torch.full((maps, horizon, look_back), 1 / look_back))
        self.bias = nn.Parameter(torch.zeros(maps, horizon))
        self.average: Tensor
        self.register_buffer("average", moving_average(look_back, window), persistent=False)

    def equations(self) -> str:
        lines = ["t = average(x)", "r = x − t", "y = W t + V r + b"]
        return "\n".join(["x ← x − xᵀ", *lines, "y ← y + xᵀ"] if self.from_last else lines)

    def weights(self) -> Tensor:
        """W A + V (1 − A), where A is the average: what each step of the past counts for each step
        ahead, ``(columns or 1, horizon, look_back)``."""
        return self.rest + (self.trend - self.rest) @ self.average.to(self.rest)

    def forward(self, past: Tensor, horizon: int | None = None) -> Tensor:
        """What follows, ``(batch, horizon, columns)``.

        Args:
            past: ``(batch, time, columns)``, of which the last ``look_back`` steps are read; a
                forecast from NaN is NaN.
            horizon: so many steps, all it has if None.

        Raises:
            InputError: the past is too short, has other columns, or more steps are asked for.
        """
        self._check(past.shape, self.look_back)
        horizon = self.horizon if horizon is None else horizon
        if not 1 <= horizon <= self.horizon:
            raise InputError(
                f"1 to {self.horizon} steps can be forecast by this linear map, got {horizon}"
            )
        x = past[:, -self.look_back :].transpose(1, 2).unsqueeze(-1).to(self.rest)
        last = x[..., -1:, 0]
        if self.from_last:
            x = x - last.unsqueeze(-1)
        y = (self.weights()[:, :horizon] @ x).squeeze(-1) + self.bias[:, :horizon]
        return (y + last if self.from_last else y).transpose(1, 2)

    @torch.no_grad()
    def fit_(
        self, training: Iterable[Tensor], ridges: Sequence[float] = RIDGES,
        validation: Iterable[Tensor] | None = None,
    ) -> Self:  # fmt: skip
        """Give it the maps of least squares over all windows, in closed form:

        (W V) = C G⁻¹,  G = cov(z) + λ s I,  C = cov(y, z),  z = (t, r)

        where s is the mean of the diagonal of cov(z), so that λ has no unit, and b = mean(y − W t −
        V r) goes without ridge. Sums are in double precision and over some windows at a time, so
        memory does not grow with the series. A window that holds NaN is left out, in its column
        alone.

        Args:
            training: series, ``(time, columns)`` each; shorter ones than a window are passed over.
            ridges: λ; of several, the one that is best on the validation part is taken.
            validation: as the training part, each series beginning with ``look_back`` steps that
                are read only.

        Raises:
            InputError: a column has no window, there is something infinite, or several ridges are
                given and nothing to choose by.
        """
        if len(ridges) != 1 and (not ridges or validation is None):
            raise InputError("a choice among several ridges, or none, needs a validation part")
        if not all(ridge > 0 for ridge in ridges):
            raise InputError(f"ridges must be above 0, got {tuple(ridges)}")
        sums = self._sums(training)
        average = self.average.to(sums.products)
        both = torch.cat([average, torch.eye(self.look_back).to(average) - average])
        covariance, crossed = sums.covariances(self.look_back)
        values, vectors = torch.linalg.eigh(both @ covariance @ both.T)
        towards = vectors.transpose(1, 2) @ both @ crossed
        scale = values.mean(-1, keepdim=True).clamp(min=1e-300)
        held_out = self._sums(validation) if len(ridges) > 1 and validation is not None else None
        best = torch.inf
        for ridge in ridges:
            shrunk = (values.clamp(min=0) + ridge * scale)[..., None]
            maps = (vectors @ (towards / shrunk)).transpose(1, 2)  # (columns, horizon, 2 look_back)
            weights = maps @ both
            bias = sums.bias(weights)
            error = held_out.squared_error(weights, bias) if held_out else 0.0
            if error < best:
                best = error
                for parameter, value in zip(
                    (self.trend, self.rest, self.bias), (*maps.chunk(2, -1), bias), strict=True
                ):
                    parameter.copy_(value)
        return self

    def _sums(self, series: Iterable[Tensor]) -> "_Sums":
        sums: _Sums | None = None
        for one in series:
            self._check((1, *one.shape), 0)
            if bool(one.isinf().any()):
                raise InputError("a series holds infinite values; a linear map cannot be fitted")
            for windows in self._windows(one):
                sums = sums or _Sums.start(windows)
                sums.add(windows)
        if sums is None or not bool((sums.count > 0).all()):
            raise InputError(
                f"to fit a linear map, each column needs {self.look_back} + {self.horizon} steps "
                "in a row without a missing value"
            )
        return sums

    def _windows(self, series: Tensor) -> Iterator[Tensor]:
        """Pieces of ``(maps, windows, look_back + horizon)``."""
        length = self.look_back + self.horizon
        if len(series) < length:
            return
        for piece in series.unfold(0, length, 1).split(max(1, VALUES // length // series.shape[1])):
            windows = piece.transpose(0, 1).double()
            if self.from_last:
                windows = windows - windows[..., self.look_back - 1, None]
            yield windows if self.columns else windows.reshape(1, -1, length)

    def _check(self, shape: Sequence[int], shortest: int) -> None:
        if len(shape) != 3 or shape[1] < shortest or self.columns not in (0, shape[2]):
            raise InputError(
                f"{shortest} steps or more of {self.columns or 'any number of'} columns are read, "
                f"(time, columns) or a batch of such, got the shape {tuple(shape)}"
            )


@dataclass
class _Sums:
    """What least squares need of windows, each a row of ``(maps, windows, steps)``.

    Args:
        centre: taken off every value before it is summed, so that no digits are lost.
    """

    centre: Tensor
    count: Tensor
    total: Tensor
    products: Tensor

    @classmethod
    def start(cls, windows: Tensor) -> "_Sums":
        maps, _, length = windows.shape
        zero = windows.new_zeros(maps, length)
        centre = windows.flatten(1).nanmean(1)[:, None].nan_to_num()
        return cls(centre, zero[:, 0], zero, zero.new_zeros(maps, length, length))

    def add(self, windows: Tensor) -> None:
        known = ~windows.isnan().any(-1, keepdim=True)
        rows = torch.where(known, windows - self.centre[..., None], 0.0)
        self.count = self.count + known.sum((1, 2))
        self.total = self.total + rows.sum(1)
        self.products += rows.transpose(1, 2) @ rows

    def covariances(self, look_back: int) -> tuple[Tensor, Tensor]:
        """Of the past with itself, and with what follows."""
        means = self.total / self.count[:, None]
        all_ = self.products / self.count[:, None, None] - means[:, :, None] * means[:, None]
        return all_[:, :look_back, :look_back], all_[:, :look_back, look_back:]

    def bias(self, weights: Tensor) -> Tensor:
        """What a map leaves of the mean."""
        means = self.total / self.count[:, None] + self.centre
        look_back = weights.shape[-1]
        past = (weights @ means[:, :look_back, None]).squeeze(-1)
        return means[:, look_back:] - past

    @torch.no_grad()
    def squared_error(self, weights: Tensor, bias: Tensor) -> float:
        """The mean over all windows and steps of |y − weights x − bias|²."""
        means = self.total / self.count[:, None]
        moments = self.products / self.count[:, None, None]
        offset = bias + self.centre * (weights.sum(-1) - 1)
        full = torch.cat([-weights, torch.eye(weights.shape[1]).to(weights).expand(
            len(weights), -1, -1)], -1)  # fmt: skip
        squares = (full @ moments * full).sum(-1)
        squares = squares - 2 * offset * (full @ means[..., None]).squeeze(-1) + offset.square()
        share = self.count / self.count.sum()
        return float((squares.mean(-1) * share).sum())


def moving_average(length: int, window: int) -> Tensor:
    """The moving average over ``window`` steps around each, as a matrix, ``(length, length)``, the
    ends going on beyond themselves."""
    steps = torch.arange(length)
    around = torch.arange(window) - window // 2
    read = (steps[:, None] + around).clamp(0, length - 1)
    average = torch.zeros(length, length, dtype=torch.float64)
    return average.scatter_add_(1, read, torch.full(read.shape, 1 / window, dtype=torch.float64))

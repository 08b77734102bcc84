"""Intervals made as wide as they must be, on a part that was not learned from."""

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from saiki.errors import InputError
from saiki.saving.pretrained import DescribedModule


def interval(quantiles: Tensor, levels: Sequence[float], share: float) -> tuple[Tensor, Tensor]:
    """The bounds between which a value lies with probability ``share``.

    Args:
        quantiles: ``(…, levels)``.
        levels: of them, such as (0.1, 0.5, 0.9), of which 0.8 is the share between the outer two.

    Raises:
        InputError: there are no such two levels.

    >>> interval(torch.tensor([1.0, 2.0, 3.0]), (0.1, 0.5, 0.9), 0.8)
    (tensor(1.), tensor(3.))
    """
    bounds = []
    for wanted in ((1 - share) / 2, (1 + share) / 2):
        matches = [i for i, level in enumerate(levels) if math.isclose(level, wanted, abs_tol=1e-9)]
        if len(matches) != 1:
            raise InputError(
                f"the {100 * share:g} % interval needs the quantile of level {wanted:g}, there are "
                f"{', '.join(f'{level:g}' for level in levels)}"
            )
        bounds.append(quantiles[..., matches[0]])
    return bounds[0], bounds[1]


class ConformalIntervals(DescribedModule, name="conformal_intervals.v1"):
    """Conformal calibration of quantiles, for each interval, step ahead and target (Romano,
    Patterson & Candès 2019, §4):

    E = max(q_low − y, y − q_high),  Q = the ⌈(n + 1) s⌉-th smallest of n scores E
    q_low ← q_low − Q,  q_high ← q_high + Q

    so that of new values that are exchangeable with those it was fitted on a share s or more lies
    within, whatever their law, and s + 1 / (n + 1) at most where no two scores are alike. Q is
    below 0 where intervals were too wide. With one number in the place of all quantiles it is the
    split conformal interval around it (Vovk, Gammerman & Shafer 2005, §4.2). Series are not
    exchangeable where their law moves on, and overlapping origins count for fewer: then the share
    is only about s.

    A wider interval is made to hold the narrower ones, and the median to lie within the narrowest.
    Unfitted, it changes nothing.

    Args:
        levels: of the quantiles, rising, each with its mirror: 0.1 with 0.9; the median may be
            among them.
        horizon: steps ahead.
        targets: of each step.

    Raises:
        InputError: levels are not so.
    """

    def __init__(self, levels: Sequence[float], horizon: int, targets: int) -> None:
        super().__init__()
        mirrored = [1 - level for level in reversed(levels)]
        is_symmetric = all(
            math.isclose(a, b, abs_tol=1e-9) for a, b in zip(levels, mirrored, strict=True)
        )
        if not (levels and is_symmetric and levels[0] > 0 and list(levels) == sorted({*levels})):
            raise InputError(
                "levels must rise between 0 and 1 and have their mirrors among them, as 0.1 has "
                f"0.9, got {tuple(levels)}"
            )
        self.levels = tuple(levels)
        self.pairs = len(levels) // 2
        self.margins: Tensor
        self.register_buffer("margins", torch.zeros(horizon, targets, self.pairs))

    def fit_(self, quantiles: Tensor, truth: Tensor) -> Self:
        """Find the margins Q.

        Args:
            quantiles: forecast for the validation part, ``(origins, horizon, targets, levels)``.
            truth: ``(origins, horizon, targets)``; NaN is missing and left out.

        Raises:
            InputError: shapes differ, or there are too few values for the widest interval: for one
                of 95 % there must be 19 at each step.
        """
        horizon, targets, _ = self.margins.shape
        wanted = (len(truth), horizon, targets)
        if truth.shape != wanted or quantiles.shape != (*wanted, len(self.levels)):
            raise InputError(
                f"quantiles of {len(self.levels)} levels are calibrated for {horizon} steps of "
                f"{targets} targets, got the shapes {tuple(quantiles.shape)} and "
                f"{tuple(truth.shape)}"
            )
        known = (~truth.isnan()).sum(0)
        margins = torch.empty(self.margins.shape, dtype=torch.float64, device=truth.device)
        for i in range(self.pairs):
            share = self.levels[-1 - i] - self.levels[i]
            low, high = quantiles[..., i].double(), quantiles[..., -1 - i].double()
            y = truth.double()
            scores = torch.maximum(low - y, y - high)
            scores = torch.where(scores.isnan() & ~y.isnan(), torch.inf, scores)
            # rounding is not to make a whole number the next
            rank = torch.ceil((known + 1) * share - 1e-9).long()
            if bool((rank > known).any()):
                raise InputError(
                    f"the {100 * share:g} % interval can be calibrated with "
                    f"{math.ceil(share / (1 - share) - 1e-9)} known values or more at each step, "
                    f"there are {int(known.min())}"
                )
            in_order = scores.sort(0).values  # NaN comes last
            margins[..., i] = in_order.gather(0, (rank - 1).clamp(min=0)[None])[0]
        if not bool(margins.isfinite().all()):
            raise InputError("so many quantiles are no numbers that no margin is wide enough")
        self.margins.copy_(margins)
        return self

    def forward(self, quantiles: Tensor) -> Tensor:
        """The quantiles ``(…, horizon, targets, levels)`` with their margins; of fewer steps, the
        first; of more, those beyond the last that was fitted have its margins."""
        steps = quantiles.shape[-3]
        margins = self.margins[:steps].to(quantiles)
        if steps > len(margins):
            last = margins[-1:].expand(steps - len(margins), -1, -1)
            margins = torch.cat((margins, last))
        if quantiles.shape[-3:] != (*margins.shape[:2], len(self.levels)):
            raise InputError(
                f"quantiles of {len(self.levels)} levels were calibrated for "
                f"{self.margins.shape[0]} steps of {self.margins.shape[1]} targets, got the shape "
                f"{tuple(quantiles.shape)}"
            )
        if not self.pairs:
            return quantiles
        low = quantiles[..., : self.pairs] - margins
        high = quantiles[..., -self.pairs :].flip(-1) + margins
        middle = (low + high) / 2
        low, high = torch.minimum(low, middle), torch.maximum(high, middle)
        # from the narrowest outwards, each holds those before
        lows, highs = [low[..., -1]], [high[..., -1]]
        for i in reversed(range(self.pairs - 1)):
            lows.insert(0, torch.minimum(low[..., i], lows[0]))
            highs.append(torch.maximum(high[..., i], highs[-1]))
        low, high = torch.stack(lows, -1), torch.stack(highs, -1)
        between = quantiles[..., self.pairs : len(self.levels) - self.pairs]
        between = torch.minimum(torch.maximum(between, low[..., -1:]), high[..., :1])
        return torch.cat([low, between, high], -1)

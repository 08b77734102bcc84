"""What forecasts of one step look like, and what they are worth beside the value before."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from saiki.plots import canvas
from saiki.plots.forecasts import dates_below

Array = np.ndarray[Any, Any]
ORIGINS_SHOWN = 120
"""The newest, where forecasts are drawn over what came."""


@dataclass(frozen=True, eq=False)
class FirstStep:
    """Forecasts of one step of one series, origin after origin.

    Args:
        title: of what.
        times: that are forecast, ``(origins,)``.
        truth: what came, ``(origins,)``.
        forecast: what was forecast of it.
        last: the value before.
        in_percent: whether changes are shown in percent of the value before.
        verdict: on the forecast beside the last value.
    """

    title: str
    times: Array
    truth: Array
    forecast: Array
    last: Array
    in_percent: bool
    verdict: str

    def change(self, values: Array) -> Array:
        """Of values since the ones before."""
        change: Array = values - self.last
        return 100 * change / self.last if self.in_percent else change


def draw_first_step(path: Path, step: FirstStep, title: str = "") -> Path:
    """One step ahead, twice: the forecast over what came, with the value before beside it, which
    looks as good on nearly any series; and the change that was forecast against the one that came,
    which tells whether there is more to it."""
    figure = canvas.new_figure(10.4, 4.2, title)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    some = slice(-ORIGINS_SHOWN, None)
    for values, name, style in (
        (step.truth, "what came", {"color": "0.3", "lw": 1.6}),
        (step.forecast, "forecast of one step", {"color": "C0", "lw": 1.1}),
        (step.last, "the value before", {"color": "C1", "lw": 1.1, "ls": "--"}),
    ):
        left.plot(step.times[some], values[some], label=name, **style)
    left.set_title(f"{step.title}, as it is often shown", fontsize=9)
    dates_below(left, step.times)
    came, forecast = step.change(step.truth), step.change(step.forecast)
    right.scatter(forecast, came, s=6, alpha=0.4, lw=0)
    reach = 1.1 * float(np.nanmax(np.abs(np.concatenate((came, forecast))), initial=1e-12))
    right.plot((-reach, reach), (-reach, reach), color="C3", lw=0.9, label="as forecast")
    right.axvline(0, color="C1", lw=0.9, ls="--", label="the value before")
    unit = ", in %" if step.in_percent else ""
    right.set(xlabel=f"change that was forecast{unit}", ylabel=f"change that came{unit}",
              xlim=(-reach, reach), ylim=(-reach, reach))  # fmt: skip
    right.set_title(f"what it is worth: {step.verdict}", fontsize=9)
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
        axes.xaxis.label.set_size(9)
        axes.yaxis.label.set_size(9)
        axes.legend(fontsize=8)
    return canvas.save(figure, path)

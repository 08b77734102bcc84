"""Sounds: their waves and their spectrograms."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.mlab import specgram

from saiki.plots import canvas
from saiki.plots.fonts import shortened


def draw_sounds(path: Path, waves: Mapping[str, np.ndarray], rate: int, title: str = "") -> Path:
    """Each wave above its spectrogram, side by side, under its name.

    Args:
        waves: ``(samples,)`` each.
        rate: samples of a second.
    """
    columns = min(3, len(waves))
    rows = math.ceil(len(waves) / columns)
    figure = canvas.new_figure(4.0 * columns, 3.6 * rows, title)
    grid = figure.subplots(2 * rows, columns, squeeze=False, height_ratios=[1, 2] * rows)
    for axes in grid.flatten():
        axes.set_axis_off()
    for i, (name, wave) in enumerate(waves.items()):
        row, column = divmod(i, columns)
        above, below = grid[2 * row, column], grid[2 * row + 1, column]
        seconds = len(wave) / rate
        above.set_axis_on()
        above.plot(np.arange(len(wave)) / rate, wave, lw=0.6)
        above.set(title=shortened(name, 40), xlim=(0, seconds))
        above.title.set_fontsize(9)
        above.tick_params(labelbottom=False, labelsize=7)
        below.set_axis_on()
        size = min(256, len(wave))
        power, frequencies, times = map(
            np.asarray, specgram(wave, size, rate, noverlap=size * 3 // 4)
        )
        decibels = 10 * np.log10(np.maximum(power / max(power.max(), 1e-30), 1e-6))
        shown = below.pcolormesh(
            times, frequencies / 1000, decibels, cmap="magma", vmin=-60, vmax=0
        )
        shown.set_rasterized(True)
        below.set(xlim=(0, seconds), xlabel="seconds", ylabel="kHz", facecolor="black")
        below.tick_params(labelsize=7)
    return canvas.save(figure, path)

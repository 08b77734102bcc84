"""Spectra of sounds, the codes that they become, and the spectra that come back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from saiki.plots import canvas
from saiki.plots.fonts import shortened

MOST_BOOKS = 8
"""Of which the codes are shown."""


@dataclass(frozen=True)
class CodedSound:
    """A sound and its codes.

    Args:
        spectrum: from −1 to 1, ``(frames, bins)``.
        codes: ``(steps, books)``.
        back: as ``spectrum``.
    """

    name: str
    spectrum: Tensor
    codes: Tensor
    back: Tensor


def draw_sound_codes(
    path: Path,
    sounds: Sequence[CodedSound],
    codes: int,
    pace: tuple[float, float],
    highest: float,
    title: str = "",
) -> Path:
    """Sounds side by side, under each other its spectrum, its codes as colours, a row for each of
    the first books, and the spectrum that comes back.

    Args:
        codes: different ones of a codebook.
        pace: seconds of a frame, and of a step.
        highest: frequency of a spectrum in Hz.
    """
    books = min(MOST_BOOKS, max(1, *(sound.codes.shape[1] for sound in sounds)))
    strip = 0.25 + 0.16 * books
    figure = canvas.new_figure(1.6 * len(sounds) + 0.9, 4.0 + strip, title)
    grid = figure.subplots(
        3, len(sounds), squeeze=False, sharey="row", height_ratios=[1.8, strip, 1.8]
    )
    for column, sound in zip(grid.T, sounds, strict=True):
        end = len(sound.spectrum) * pace[0]
        for axes, spectrum in ((column[0], sound.spectrum), (column[2], sound.back)):
            axes.imshow(
                np.asarray(spectrum.T.float().cpu()),
                extent=(0, end, 0, highest / 1000),
                cmap="magma",
                vmin=-1,
                vmax=1,
                **LAID,
            )
        rows = np.asarray(sound.codes[:, :books].T.cpu())
        if rows.size:
            column[1].imshow(
                rows,
                extent=(0, rows.shape[1] * pace[1], books + 0.5, 0.5),
                cmap="nipy_spectral",
                vmin=0,
                vmax=max(1, codes - 1),
                **{**LAID, "origin": "upper"},
            )
        column[0].set_title(shortened(sound.name, 18), fontsize=9)
        for axes in column:
            axes.set_xlim(0, end)
            axes.tick_params(labelsize=7, labelbottom=axes is column[2])
        column[1].set_yticks(range(1, books + 1))
        column[2].set_xlabel("seconds", fontsize=8)
    for axes, name in zip(grid[:, 0], ("kHz", "codes", "kHz, back"), strict=True):
        axes.set_ylabel(name, fontsize=8)
    return canvas.save(figure, path)


LAID = {"aspect": "auto", "origin": "lower", "interpolation": "nearest"}

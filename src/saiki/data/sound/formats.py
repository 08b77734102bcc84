"""Formats of sound that libsndfile does not read, each with its reader."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reader = Callable[[Path], tuple[NDArray[Any], int]]
"""From a file to samples in floating point, ``(frames,)`` or ``(frames, channels)``, full scale 1,
and their rate in Hz. What it cannot read is a ValueError or an OSError, whose text says why."""

READERS: dict[str, Reader] = {}
"""By the ending of the file, in small letters."""


class Decoded:
    """Samples in memory, read from front to back as :class:`soundfile.SoundFile` is."""

    def __init__(self, samples: NDArray[Any], rate: int) -> None:
        if samples.ndim not in (1, 2) or samples.dtype.kind != "f":
            raise ValueError(
                "samples must be floating-point numbers (frames, channels), got "
                f"{samples.dtype} {samples.shape}"
            )
        self._samples = samples.reshape(len(samples), -1)
        self._at = 0
        self.samplerate = rate
        self.frames, self.channels = self._samples.shape

    def __enter__(self) -> "Decoded":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, frames: int, dtype: str, always_2d: bool) -> NDArray[Any]:
        """The next frames, ``(frames, channels)``; fewer at the end."""
        part = self._samples[self._at : self._at + frames].astype(np.dtype(dtype))
        self._at += len(part)
        return part

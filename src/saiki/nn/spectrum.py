"""The short-time Fourier spectrum of sound in decibels, and the way back to a wave."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from saiki.errors import InputError
from saiki.nn.pooling import real_steps
from saiki.saving.pretrained import DescribedModule

SMALLEST, LEAST_OVERLAP = 16, 3
"""Samples of a window, and windows that cover a sample: fewer do not tell a phase."""
ITERATIONS, MOMENTUM = 32, 0.99
QUIETEST, ROUNDING = 1e-6, 1e-3
"""Magnitude of what counts as the loudest of a wave at least, so that silence stays silent; and
share of the floor that is none above it."""
PEAK = 0.5
"""Of full scale, the largest sample of a wave that comes back."""


class LogSpectrum(DescribedModule, name="log_spectrum.v1"):
    """Log magnitudes of :func:`torch.stft` with a Hann window, from −1, the floor, to about 1, the
    loudest of the wave, so that loudness does not matter:

    z = 1 − 2 ln(|X| / max |X| + ε) / ln ε,  ε = 10^(floor/20)

    Frame t is centred at sample t · hop, so a wave of n samples has ⌊n / hop⌋ + 1 frames, and one
    that is shorter than a window has some, too.

    Args:
        rate: samples of a second.
        window: samples of a frame.
        hop: samples from one frame to the next.
        floor: dB below the loudest at which the logarithm flattens.

    Raises:
        InputError: the window is too short, or the hop more than a third of it.

    >>> spectrum = LogSpectrum(8000, window=64, hop=16)
    >>> z, frames = spectrum(torch.randn(2, 100), torch.tensor([100, 40]))
    >>> z.shape, frames
    (torch.Size([2, 7, 33]), tensor([7, 3]))
    >>> spectrum.wave(z[1, :3], 40).shape
    torch.Size([40])
    """

    window: Tensor

    def __init__(self, rate: int, window: int = 256, hop: int = 64, floor: float = -60.0) -> None:
        super().__init__()
        if window < SMALLEST or not 0 < LEAST_OVERLAP * hop <= window:
            raise InputError(
                f"window must have {SMALLEST} samples at least and hop a third of it at most, so "
                f"that frames overlap, got window {window} and hop {hop}"
            )
        self.rate, self.window_size, self.hop = rate, window, hop
        self.floor = floor
        self.bins = window // 2 + 1
        self.register_buffer("window", torch.hann_window(window), persistent=False)

    @property
    def decibels(self) -> float:
        """Of a step of 1 in z."""
        return -self.floor / 2

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``waves: (batch, samples)``, of which each row has ``lengths: (batch,)``, to
        ``(batch, frames, bins)``, −1 beyond the frames of each row, and the number of these."""
        waves = waves.masked_fill(~real_steps(waves, lengths), 0)
        spectrum = torch.view_as_real(self.transform(waves)).square().sum(-1).mT
        frames = lengths // self.hop + 1
        real = real_steps(spectrum, frames)[..., None]
        magnitudes = spectrum.clamp(min=torch.finfo(waves.dtype).tiny).sqrt() * real
        loudest = magnitudes.amax((1, 2), keepdim=True).clamp(min=QUIETEST)
        return 1 - 2 * torch.log(magnitudes / loudest + self._least) / math.log(self._least), frames

    def magnitudes(self, z: Tensor) -> Tensor:
        """|X| / max |X| of z, 0 at the floor."""
        magnitudes = ((1 - z) * (math.log(self._least) / 2)).exp() - self._least
        return F.threshold(magnitudes, ROUNDING * self._least, 0)

    def wave(self, z: Tensor, samples: int | None = None) -> Tensor:
        """A wave with such a spectrum, ``(samples,)``, as loud as :data:`PEAK`, from ``z: (frames,
        bins)``. Phases are looked for; the same z gives the same wave.

        Args:
            samples: as many as have so many frames; without, the most there can be.
        """
        samples = len(z) * self.hop - 1 if samples is None else samples
        wave = griffin_lim(self.magnitudes(z).mT, samples, self)
        return wave * (PEAK / wave.abs().max().clamp(min=torch.finfo(wave.dtype).tiny))

    def transform(self, waves: Tensor) -> Tensor:
        """``(…, samples)`` to complex ``(…, bins, frames)``."""
        return torch.stft(
            waves,
            self.window_size,
            self.hop,
            window=self.window,
            pad_mode="constant",
            return_complex=True,
        )

    def inverse(self, spectrum: Tensor, samples: int) -> Tensor:
        """The wave ``(samples,)`` nearest to complex ``(bins, frames)``."""
        return torch.istft(spectrum, self.window_size, self.hop, window=self.window, length=samples)

    @property
    def _least(self) -> float:
        """ε."""
        return 10 ** (self.floor / 20)

    def equations(self) -> str:
        return (
            f"z = 1 − 2 ln(|X| / max |X| + ε) / ln ε, X = STFT(x), {self.bins} bins every "
            f"{1000 * self.hop / self.rate:g} ms"
        )


@torch.no_grad()
def griffin_lim(magnitudes: Tensor, samples: int, spectrum: LogSpectrum) -> Tensor:
    """A wave ``(samples,)`` whose spectrum has nearly these ``magnitudes: (bins, frames)`` (Griffin
    & Lim 1984), with momentum (Perraudin, Balazs & Søndergaard 2013, algorithm 2):

        cₙ = M · tₙ₋₁ / |tₙ₋₁|,  rₙ = STFT(ISTFT(cₙ)),  tₙ = rₙ + α (rₙ − rₙ₋₁)

    from phases that are drawn, always the same.
    """
    random = torch.Generator().manual_seed(0)
    angle = torch.rand(magnitudes.shape, generator=random, dtype=torch.float64)
    phases = torch.polar(torch.ones_like(angle), 2 * math.pi * angle)
    like = torch.view_as_complex(torch.stack((magnitudes, magnitudes), -1))
    phases, before = phases.to(like), torch.zeros_like(like)
    for _ in range(ITERATIONS):
        rebuilt = spectrum.transform(spectrum.inverse(magnitudes * phases, samples))
        moved = rebuilt + MOMENTUM * (rebuilt - before)
        phases, before = moved / moved.abs().clamp(min=1e-12), rebuilt
    return spectrum.inverse(magnitudes * phases, samples)

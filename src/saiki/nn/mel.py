"""Log-mel features of sound, the same for any loudness and nearly so for any microphone."""

import torch
from torch import Tensor
from torch.nn import functional as F

from saiki.errors import InputError
from saiki.saving.pretrained import DescribedModule

PREEMPHASIS = 0.95
EDGE = 0.05
"""Seconds of silence put before and after each wave."""
QUIET, MARGIN = 1e-4, 0.1
"""What is this much weaker than the loudest frame, 40 dB, is silence before and after the sound, of
which so many seconds are kept."""


class LogMel(DescribedModule, name="log_mel.v1"):
    """Log-mel spectrograms from :func:`torch.stft`, normalised for each wave by itself.

    P = |STFT(x)|²,  M = B P,  L = ln(M / max M + 10^(floor/10))

    B holds triangles that are evenly spaced on the mel scale, 2595 lg(1 + f / 700 Hz) (Davis &
    Mermelstein 1980; O'Shaughnessy 1987), and have an area of 1. Each wave becomes two images: L
    less the mean over time of each band, which takes away the microphone and the room, and L less
    its one mean, which keeps the colour of a steady sound; both are divided by their deviation
    plus 0.3, so that a wave without any contrast is not blown up.

    Time is stretched or compressed where a wave has fewer frames than ``shortest`` or more than
    ``longest``.

    Args:
        rate: samples of a second.
        bands: triangles of B.
        lowest, highest: Hz; the highest is 0.4875 ``rate`` without it.
        window, hop: seconds of a frame and from one frame to the next.
        floor: dB below the loudest cell at which the logarithm flattens.
        shortest, longest: frames.
    """

    edges: Tensor
    frequencies: Tensor
    window: Tensor

    def __init__(
        self,
        rate: int,
        bands: int = 40,
        lowest: float = 60.0,
        highest: float | None = None,
        window: float = 0.025,
        hop: float = 0.01,
        floor: float = -40.0,
        shortest: int = 24,
        longest: int = 72,
    ) -> None:
        super().__init__()
        self.rate = rate
        self.bands = bands
        self.hop = round(hop * rate)
        self.window_size = round(window * rate)
        self.bins = 2 ** (self.window_size - 1).bit_length() // 2 + 1
        self.floor = floor
        self.shortest, self.longest = shortest, longest
        highest = 0.4875 * rate if highest is None else highest
        if not 0 <= lowest < highest <= rate / 2:
            raise InputError(f"bands must lie from 0 to {rate / 2:g} Hz, got {lowest} to {highest}")
        # on the processor, whatever the device of the model: they are looked at
        ends = torch.tensor([lowest, highest], dtype=torch.float64, device="cpu")
        low, high = (2595 * torch.log10(1 + ends / 700)).tolist()
        steps = torch.linspace(low, high, bands + 2, dtype=torch.float64)
        edges = 700 * (10 ** (steps / 2595) - 1)
        self.register_buffer("edges", edges.float(), persistent=False)
        frequencies = torch.linspace(0, rate / 2, self.bins)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.register_buffer("window", torch.hann_window(self.window_size), persistent=False)

    @property
    def size(self) -> int:
        """Features of a frame: two images of ``bands``."""
        return 2 * self.bands

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """``waves: (batch, samples)``, of which each row has ``lengths: (batch,)``, to features
        ``(batch, frames, size)`` and the number of frames of each row."""
        edge = round(EDGE * self.rate)
        waves = waves * (torch.arange(waves.shape[1], device=waves.device) < lengths[:, None])
        waves = F.pad(waves, (edge, edge))
        power, frames = self.power(waves, lengths + 2 * edge)
        ones = waves.new_ones(waves.shape[0])
        first, frames = self.trimmed(power, frames)
        mel, frames = self.stretch(self.mel(power, ones), first, frames, ones)
        return self.normalise(mel, frames, self.floor * ones), frames

    def power(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """|STFT|², ``(batch, bins, frames)``, 0 beyond the frames of each row, and their number.

        ``waves`` are 0 beyond their lengths.
        """
        waves = waves - PREEMPHASIS * F.pad(waves, (1, 0))[:, :-1]
        spectrum = torch.stft(
            waves,
            2 * (self.bins - 1),
            self.hop,
            self.window_size,
            self.window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        frames = lengths // self.hop + 1
        real = torch.arange(spectrum.shape[2], device=waves.device) < frames[:, None]
        return torch.view_as_real(spectrum).square().sum(-1) * real[:, None], frames

    def trimmed(self, power: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """The first frame of each row that is not silence before the sound, and the number of
        frames up to the silence after it; a margin is kept."""
        energy = power.sum(1)
        loud = (energy > QUIET * energy.amax(1, keepdim=True)).to(power.dtype)
        margin = round(MARGIN * self.rate / self.hop)
        first = (loud.argmax(1) - margin).clamp(min=0)
        end = power.shape[2] - loud.flip(1).argmax(1) + margin
        return first, torch.minimum(end, frames) - first

    def mel(self, power: Tensor, warp: Tensor) -> Tensor:
        """B P, ``(batch, bands, frames)``, each row as if its voice came from a throat ``warp``
        times as short: frequency f is taken for f · warp (Jaitly & Hinton 2013)."""
        top = self.rate / 2
        knee = 0.8 * top / torch.maximum(warp, torch.ones_like(warp))[:, None]
        warp, edges = warp[:, None], self.edges[None]
        slope = (top - knee) / (top - knee * warp)  # so that the highest frequency stays
        edges = torch.where(
            edges <= knee * warp, edges / warp, knee + (edges - knee * warp) * slope
        )
        low, middle, high = (edges[:, i : self.bands + i, None] for i in range(3))
        narrowest = self.frequencies[1] / 2
        up = (self.frequencies - low) / (middle - low).clamp(min=narrowest)
        down = (high - self.frequencies) / (high - middle).clamp(min=narrowest)
        triangles = torch.minimum(up, down).clamp(min=0)
        return (triangles / (triangles.sum(2, keepdim=True) + 1e-6)) @ power

    def stretch(
        self, mel: Tensor, first: Tensor, frames: Tensor, tempo: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The ``frames`` from the ``first`` of each row on, ``tempo`` times as long, within
        ``shortest`` and ``longest``, by linear interpolation.

        Returns ``(batch, bands, longest)`` and the new numbers of frames.
        """
        wanted = (frames * tempo).clamp(self.shortest, self.longest).round().long()
        steps = torch.arange(self.longest, dtype=mel.dtype, device=mel.device)
        # from the first to the last frame: what lies beyond a row is never read
        pace = (frames - 1).to(mel.dtype) / (wanted - 1)
        source = first[:, None] + steps * pace[:, None]
        left = source.floor().long().clamp(max=mel.shape[2] - 1)
        share = (source - left)[:, None].clamp(0, 1)
        right = (left + 1).clamp(max=mel.shape[2] - 1)
        a, b = (mel.gather(2, i[:, None].expand(-1, mel.shape[1], -1)) for i in (left, right))
        return a * (1 - share) + b * share, wanted

    def normalise(self, mel: Tensor, frames: Tensor, floor: Tensor) -> Tensor:
        """The two images side by side, ``(batch, frames, 2 · bands)``, 0 beyond each row."""
        real = (torch.arange(mel.shape[2], device=mel.device) < frames[:, None])[:, None]
        peak = (mel * real).amax((1, 2), keepdim=True).clamp(min=torch.finfo(mel.dtype).tiny)
        log = torch.log(mel / peak + (10 ** (floor / 10))[:, None, None]) * real
        count = frames[:, None, None].to(mel.dtype)
        band_means = log.sum(2, keepdim=True) / count
        images = []
        for mean in (band_means, band_means.mean(1, keepdim=True)):
            image = (log - mean) * real
            variance = image.square().sum((1, 2), keepdim=True) / count / self.bands
            images.append(image / (variance.sqrt() + 0.3))
        return torch.cat(images, 1).transpose(1, 2)


class Samples(DescribedModule, name="samples.v1"):
    """The raw wave as a sequence of single numbers, cut or filled with 0 to a fixed count."""

    size = 1

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, None]:
        """``waves: (batch, samples)`` to ``(batch, count, 1)``; every step counts."""
        waves = waves * (torch.arange(waves.shape[1], device=waves.device) < lengths[:, None])
        filled = torch.cat((waves, waves.new_zeros(waves.shape[0], self.count)), 1)
        return filled[:, : self.count, None], None

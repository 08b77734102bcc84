"""Sounds as they might have been: other speakers, rooms, microphones and manners of speaking.

What changes a wave is drawn for it alone, from a generator of its own, so the same number gives the
same change whatever else is in the batch.
"""

import math
from collections.abc import Sequence

import numpy
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki.knobs import Knobs, knob
from saiki.nn.mel import EDGE, LogMel


class Augmentation(Knobs):
    """How far each change may go; 0 switches it off.

    Speed and vocal tract change the pitch and the formants: with them one voice becomes many
    (Ko et al. 2015; Jaitly & Hinton 2013). Noise is coloured and 12 to 45 dB below the sound. A
    low-pass filter cuts between 45 % and 95 % of the band. Where silence may be put, a fifteenth
    of that may be cut off. Masks are those of SpecAugment (Park et al. 2019, §2).
    """

    speed: float = knob(0.1, "largest relative change of speed and pitch", minimum=0, maximum=1)
    vocal_tract: float = knob(
        0.1, "largest relative change of the formants alone", minimum=0, maximum=1
    )
    tempo: float = knob(0.25, "largest relative change of tempo alone", minimum=0, maximum=1)
    noise: float = knob(0.6, "probability of noise", minimum=0, maximum=1)
    equaliser: float = knob(8.0, "gain of a random filter, in dB", minimum=0, maximum=40)
    room: float = knob(0.15, "probability of reverberation", minimum=0, maximum=1)
    muffle: float = knob(0.1, "probability of a low-pass filter", minimum=0, maximum=1)
    shift: float = knob(0.12, "longest silence put before and after, in s", minimum=0, maximum=1)
    masks: int = knob(1, "bars hidden over time, and over frequency", minimum=0, maximum=16)

    @property
    def on(self) -> list[str]:
        """The names of the changes that are not switched off."""
        return [name for name, value in self.to_dict().items() if value]

    def build(self, front: nn.Module) -> "Augmenter | None":
        """What makes changed features of waves; None where nothing is changed."""
        return Augmenter(front, self) if isinstance(front, LogMel) and self.on else None


NONE = Augmentation(**dict.fromkeys(Augmentation.knobs(), 0))
LONGEST_MASKS = 8, 6
"""Frames and bands."""
_NOISE = 2**20
_CONTROLS = 8  # points of a smooth random curve over frequency


class Augmenter:
    """Features of waves that were changed at random; see :class:`Augmentation`."""

    def __init__(self, mel: LogMel, settings: Augmentation) -> None:
        self.mel = mel
        self.settings = settings
        # the power of white noise in a bin of a frame is exponentially distributed
        exponential = numpy.random.default_rng(0).standard_exponential(_NOISE)
        self.noise = torch.from_numpy(exponential)

    def __call__(
        self, waves: Tensor, lengths: Tensor, keys: Sequence[tuple[int, ...]]
    ) -> tuple[Tensor, Tensor]:
        """Features and numbers of frames, as :class:`LogMel` gives them.

        Args:
            waves: ``(batch, samples)``, 0 beyond the ``lengths`` of each row.
            keys: whole numbers for each row, from which its changes follow.
        """
        mel, settings = self.mel, self.settings
        draw = _Draw(keys, waves.dtype)
        waves, lengths = self._played(waves, lengths, draw)
        power, frames = mel.power(waves, lengths)
        first, length = mel.trimmed(power, frames)
        if settings.room:
            real = torch.arange(power.shape[2]) < frames[:, None]
            power = self._room(power, draw) * real[:, None]
        power = power * self._filter(draw)[:, :, None]
        if settings.noise:
            power = power + self._noise(power, frames, draw)
        warp = draw.factor(settings.vocal_tract)
        bands, frames = mel.stretch(
            mel.mel(power, warp), first, length, draw.factor(settings.tempo)
        )
        spread = 8.0 if settings.noise else 0.0
        features = mel.normalise(bands, frames, mel.floor + draw.uniform(-spread, spread))
        for _ in range(settings.masks):
            features = self._masked(features, frames, draw)
        return features, frames

    def _played(self, waves: Tensor, lengths: Tensor, draw: "_Draw") -> tuple[Tensor, Tensor]:
        """Cut at both ends, at another speed, with silence before and after."""
        rate, shift = self.mel.rate, self.settings.shift
        waves = F.pad(waves, (0, 1))  # so that each row has a 0 behind it
        edge = EDGE if shift == 0 else 0.0
        cut = [(draw.uniform(0, shift / 15) * rate).long() for _ in range(2)]
        silence = [((draw.uniform(0, 1) ** 2 * shift + edge) * rate).long() for _ in range(2)]
        speed = draw.factor(self.settings.speed)
        uncut = (lengths - cut[0] - cut[1]).clamp(min=1)
        played = (uncut / speed).long().clamp(min=1)
        total = silence[0] + played + silence[1]
        steps = torch.arange(int(total.max()) + 1)
        source = (steps - silence[0][:, None]) * speed[:, None]
        is_sound = (source >= 0) & (steps < (silence[0] + played)[:, None])
        source = source.clamp(min=0) + cut[0][:, None]
        left = source.floor().long().clamp(max=waves.shape[1] - 1)
        share = source - left
        right = (left + 1).clamp(max=waves.shape[1] - 1)
        return (
            waves.gather(1, left) * (1 - share) + waves.gather(1, right) * share
        ) * is_sound, total

    def _room(self, power: Tensor, draw: "_Draw") -> Tensor:
        """Each frame leaves an exponential tail in the next ones."""
        steps = torch.arange(1, 13, dtype=power.dtype)
        wet = draw.uniform(0.05, 0.5) * draw.happens(self.settings.room)
        tail = torch.exp(-steps / draw.uniform(0.8, 4.0)[:, None])
        tail = tail / tail.sum(1, keepdim=True) * wet[:, None]
        kernel = torch.cat(((1 - wet)[:, None], tail), 1).flip(1)
        by_bin = F.pad(power.transpose(0, 1), (len(steps), 0))
        return F.conv1d(by_bin, kernel[:, None], groups=len(power)).transpose(0, 1)

    def _filter(self, draw: "_Draw") -> Tensor:
        """Factors of the power in each bin, ``(batch, bins)``."""
        settings, bins = self.settings, self.mel.bins
        decibels = draw.curve(bins) * settings.equaliser * draw.happens(0.7)[:, None]
        place = torch.linspace(0, 1, bins, dtype=decibels.dtype)
        edge = draw.uniform(0.45, 0.95)[:, None]
        slope = ((place - edge).clamp(min=0) * 120).clamp(max=40)  # 1.5 dB for 50 Hz of 4,000
        decibels = decibels - slope * draw.happens(settings.muffle)[:, None]
        return 10 ** (decibels / 10)

    def _noise(self, power: Tensor, frames: Tensor, draw: "_Draw") -> Tensor:
        """The power of coloured noise, in all frames alike."""
        batch, bins, steps = power.shape
        level = power.sum((1, 2)) / frames / bins
        ratio = draw.uniform(12, 45)
        tilt = torch.linspace(0, 1, bins, dtype=power.dtype) * draw.uniform(0, 20)[:, None]
        colour = 10 ** ((draw.curve(bins) * 6 - tilt) / 10)
        colour = colour / colour.mean(1, keepdim=True)
        while len(self.noise) < _NOISE + steps * bins:
            self.noise = torch.cat((self.noise, self.noise[:_NOISE]))
        starts = (draw.uniform(0, 1) * _NOISE).long().tolist()
        white = torch.stack([self.noise[start : start + steps * bins] for start in starts])
        white = white.to(power.dtype).view(batch, steps, bins).transpose(1, 2)
        strength = level * 10 ** (-ratio / 10) * draw.happens(self.settings.noise)
        return white * colour[:, :, None] * strength[:, None, None]

    def _masked(self, features: Tensor, frames: Tensor, draw: "_Draw") -> Tensor:
        """A bar over time and one over the bands of both images set to 0, the mean."""
        steps = features.shape[1]
        longest, widest = LONGEST_MASKS
        length = draw.uniform(0, 1) * (0.2 * frames.to(features.dtype)).clamp(max=longest)
        start = draw.uniform(0, 1) * (frames - length)
        t = torch.arange(steps)
        hidden = (t >= start[:, None]) & (t < (start + length)[:, None])
        features = features * ~hidden[:, :, None]
        width = draw.uniform(0, 1) * min(widest, self.mel.bands / 2)
        lowest = draw.uniform(0, 1) * (self.mel.bands - width)
        b = torch.arange(self.mel.bands)
        hidden = (b >= lowest[:, None]) & (b < (lowest + width)[:, None])
        return features * ~hidden.repeat(1, 2)[:, None]


class _Draw:
    """Random numbers for the rows of a batch, each row's from a generator of its own."""

    def __init__(self, keys: Sequence[tuple[int, ...]], dtype: torch.dtype) -> None:
        self.generators = [numpy.random.default_rng(key) for key in keys]
        self.dtype = dtype

    def uniform(self, low: float, high: float) -> Tensor:
        numbers = [generator.random() for generator in self.generators]
        return low + (high - low) * torch.tensor(numbers, dtype=self.dtype)

    def factor(self, reach: float) -> Tensor:
        """From 1 / (1 + reach) to 1 + reach, evenly in its logarithm."""
        span = math.log1p(reach)
        # one by one: vector units round differently at the end of a batch
        factors = [math.exp(generator.uniform(-span, span)) for generator in self.generators]
        return torch.tensor(factors, dtype=self.dtype)

    def happens(self, probability: float) -> Tensor:
        """1 with this probability, otherwise 0."""
        return (self.uniform(0, 1) < probability).to(self.dtype)

    def curve(self, points: int) -> Tensor:
        """A smooth random curve of deviation 1, ``(batch, points)``."""
        normal = numpy.stack([each.standard_normal(_CONTROLS) for each in self.generators])
        controls = torch.from_numpy(normal).to(self.dtype)[:, None]
        return F.interpolate(controls, points, mode="linear", align_corners=True)[:, 0]

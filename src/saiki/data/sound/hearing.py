"""What of a wave a network hears, by its knobs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saiki.data.sound.files import Wave
from saiki.knobs import Knobs, knob
from saiki.nn.mel import LogMel, Samples
from saiki.nn.spectrum import LogSpectrum


class Listening(Knobs):
    """How much of a recording is heard, and how finely."""

    rate: int = knob(8000, "samples of a second", minimum=2000, maximum=48_000)
    seconds: float = knob(10.0, "of a recording that are heard at most", minimum=0.1, maximum=600)

    def cut(self, wave: Wave) -> Wave:
        """The part of a wave that is listened to."""
        return wave[: round(self.seconds * self.rate)]

    def padded(self, waves: Sequence[Wave], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """What is heard of waves side by side, ``(batch, samples)``, and the lengths."""
        rows = [torch.from_numpy(self.cut(wave)).to(dtype) for wave in waves]
        lengths = torch.tensor([len(row) for row in rows])
        return nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths

    def example(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Three waves of noise of different lengths."""
        lengths = torch.tensor([self.rate // 2, self.rate // 3, self.rate])
        random = torch.Generator().manual_seed(0)
        waves = torch.randn(3, self.rate, generator=random, dtype=dtype)
        return waves * (torch.arange(self.rate) < lengths[:, None]), lengths


class Hearing(Listening):
    """What of a wave the network reads."""

    features: str = knob("log_mel", "what the network reads", choices=("log_mel", "waveform"))
    samples: int = knob(1000, "of a waveform, cut or filled with 0", minimum=1, maximum=100_000)
    bands: int = knob(40, "of the log-mel spectrum", minimum=4, maximum=256)

    def build(self) -> LogMel | Samples:
        """What makes features of waves."""
        if self.features == "waveform":
            return Samples(self.samples)
        return LogMel(self.rate, self.bands)

    def equation(self) -> str:
        """Of the features."""
        if self.features == "waveform":
            return f"z = {self.samples} samples, cut or filled with 0"
        return f"z = ln(B |STFT(x)|²), {self.bands} bands, normalised for each recording"


class SpectrumChoice(Listening):
    """The spectrum of a wave, from which a wave can be made again."""

    window: int = knob(256, "samples of a frame of the spectrum", minimum=16, maximum=8192)
    hop: int = knob(64, "samples from one frame to the next", minimum=1, maximum=4096)
    floor: float = knob(
        60.0, "dB below the loudest at which a spectrum is cut off", minimum=20, maximum=120
    )

    def validate(self) -> None:
        self.build()

    def build(self) -> LogSpectrum:
        """What makes spectra of waves, and waves of spectra."""
        return LogSpectrum(self.rate, self.window, self.hop, -self.floor)

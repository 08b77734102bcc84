"""Recordings of a few classes: where they come from, which of them are tested, and what of each a
network hears."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from saiki.data import store
from saiki.data.dataset import Batch, Dataset
from saiki.data.skipped import Unusable, in_words
from saiki.data.sound.files import Wave
from saiki.data.sound.layouts import Recordings, load
from saiki.data.sound.splits import SPLITS, Split, by_default, split, spread
from saiki.data.tables.encoding import Encoding
from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.nn.mel import LogMel, Samples
from saiki.nn.spectrum import LogSpectrum


class RecordingSource(Knobs):
    """FSDD, or a folder of recordings."""

    data: str = knob(
        "",
        "folder of recordings, one subfolder a class, or a table of path and label; FSDD without",
        is_path=True,
    )
    encoded: Encoding = Encoding()
    split: str = knob(
        "auto",
        "what is tested: takes 0 to 4 (official), 15 % at random, or speakers; auto: official "
        "where takes are known, otherwise random",
        choices=("auto", *SPLITS),
    )
    unusable: Unusable = Unusable()
    test_speakers: str = knob("", "speakers never heard in training, with commas between")

    def validate(self) -> None:
        if self.test_speakers and self.split != "speakers":
            raise InputError("test_speakers goes with split speakers")

    def load(self, rate: int) -> Recordings:
        """All recordings, at ``rate`` Hz; see :func:`saiki.data.sound.layouts.load`."""
        source = store.locate("fsdd", Path(self.data) if self.data else None)
        return load(source, rate, self.unusable.strict, self.encoded.encoding)

    def tested_by(self, recordings: Recordings) -> str:
        """The split that is meant."""
        return by_default(recordings) if self.split == "auto" else self.split

    def parts(self, recordings: Recordings, seed: int) -> Split:
        """Which of them are learned from, which validate and which are tested."""
        speakers = [name.strip() for name in self.test_speakers.split(",") if name.strip()]
        return split(recordings, self.tested_by(recordings), seed, speakers)


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


class RecordedSounds(Dataset[Batch]):
    """Recordings in three parts.

    Args:
        hearing: how much of each is heard.
        seed: which of them are in which part.
    """

    source: RecordingSource
    hearing: Listening
    seed: int
    dtype: torch.dtype

    prefetch = 2

    @cached_property
    def recordings(self) -> Recordings:
        return self.source.load(self.hearing.rate)

    @cached_property
    def parts(self) -> Split:
        return self.source.parts(self.recordings, self.seed)

    @cached_property
    def numbers(self) -> list[int]:
        """The number of the class of each recording."""
        numbers = {label: i for i, label in enumerate(self.recordings.classes)}
        return [numbers[entry.label] for entry in self.recordings.entries]

    def notes(self) -> Sequence[str]:
        """Lines on what there is beside the recordings."""
        return ()

    def describe(self) -> str:
        recordings, parts = self.recordings, self.parts
        sizes = (
            f"{recordings.in_words()}: {len(parts.train):,} to learn from, "
            f"{len(parts.validation):,} to validate, {len(parts.test):,} to test "
            f"(split {self.source.tested_by(recordings)})"
        )
        return "\n".join((sizes, *self.notes(), *in_words(recordings.skipped)))

    def items(self) -> dict[str, Iterable[str | bytes]]:
        """What is learned from and judged by, wherever the files lie."""
        sounds = zip(self.recordings.entries, self.recordings.waves, strict=True)
        return {
            "classes": self.recordings.classes,
            "recordings": (f"{replace(e, path=Path())}".encode() + w.tobytes() for e, w in sounds),
        }

    def example(self) -> tuple[Tensor, Tensor]:
        return self.hearing.example(self.dtype)

    def input_example(self) -> str:
        return str(self.recordings.entries[self.parts.test[0]].path)

    def of_each_class(self, indices: Sequence[int], count: int) -> list[int]:
        """Up to so many of some recordings, of as many classes as can be."""
        labels = [self.recordings.entries[i].label for i in indices]
        return [indices[place] for place in spread(labels, count)]

"""The English digits said by synthetic speakers, kept in the user's cache folder."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy
import torch
from torch import Tensor

from saiki.data.sound.files import Wave
from saiki.data.sound.voices import digit, say_all, voices
from saiki.errors import InputError, SaikiError
from saiki.knobs import Knobs, knob
from saiki.saving import tensors

Utterances = tuple[tuple[Wave, ...], tuple[int, ...]]
FORMAT = 1
"""Of what is said, so that a newer saiki does not read an older one's."""
DIGITS = tuple(map(str, range(10)))


class Voices(Knobs):
    """Synthetic speakers, who say the ten digits."""

    voices: int = knob(
        20_000,
        "utterances by synthetic speakers to learn from too, where the classes are the ten digits",
        minimum=0,
        maximum=1_000_000,
    )
    voice_share: float = knob(0.75, "share of them in a batch", minimum=0, maximum=0.95)

    def build(self, classes: Sequence[str], rate: int, seed: int) -> Utterances:
        """Utterances and their classes; none where they do not help."""
        if not self.voices or not self.voice_share or tuple(classes) != DIGITS:
            return (), ()
        return digits(self.voices, seed, rate)

    def in_batch(self, size: int) -> int:
        """How many rows of a batch are synthetic; one at least is not."""
        return min(round(size * self.voice_share), size - 1)

    def in_words(self, spoken: Utterances) -> list[str]:
        """Whether there are any, for people."""
        if spoken[0]:
            return [f"{len(spoken[0]):,} utterances by synthetic speakers beside them"]
        if self.voices:
            return ["no synthetic speakers: the classes are not the digits 0 to 9"]
        return []


def digits(count: int, seed: int, rate: int) -> Utterances:
    """``count`` utterances of 0 to 9 in turn, each by a voice of its own: waves at ``rate`` Hz, and
    the digits.

    They are made once, some hundred a second, and read from the cache folder afterwards.
    """
    import pooch

    path = Path(pooch.os_cache("saiki"), "voices", f"digits-{FORMAT}-{count}-{seed}-{rate}")
    path = path.with_suffix(".safetensors")
    if path.is_file():
        try:
            cached, _ = tensors.load(path)
        except InputError:  # it is a cache: what is damaged is made again
            path.unlink(missing_ok=True)
        else:
            return _waves(cached), _numbers(count)
    lines = [(digit(i % 10, voice), voice) for i, voice in enumerate(voices(count, seed))]
    waves = say_all(lines, rate)
    rounded = [numpy.round(wave.clip(-1, 1) * 32767).astype(numpy.int16) for wave in waves]
    samples = {
        "samples": torch.from_numpy(numpy.concatenate(rounded)),
        "lengths": torch.tensor([len(wave) for wave in rounded]),
    }
    with suppress(SaikiError):  # without a cache folder that can be written: made each time
        tensors.save(path, samples, {"rate": rate})
    return _waves(samples), _numbers(count)


def _waves(rounded: Mapping[str, Tensor]) -> tuple[Wave, ...]:
    pieces = rounded["samples"].split(rounded["lengths"].tolist())
    return tuple((piece.float() / 32767).numpy() for piece in pieces)


def _numbers(count: int) -> tuple[int, ...]:
    return tuple(i % 10 for i in range(count))

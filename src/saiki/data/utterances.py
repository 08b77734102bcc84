"""The English digits said by synthetic speakers, kept in the user's cache folder."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy
import torch
from torch import Tensor

from saiki.data.sound import Wave
from saiki.data.voices import digit, say_all, voices
from saiki.errors import InputError, SaikiError
from saiki.saving import tensors

Utterances = tuple[tuple[Wave, ...], tuple[int, ...]]
FORMAT = 1
"""Of what is said, so that a newer saiki does not read an older one's."""


def digits(count: int, seed: int, rate: int) -> Utterances:
    """``count`` utterances of 0 to 9 in turn, each by a voice of its own: waves at ``rate`` Hz, and
    the digits.

    They are made once, some hundred a second, and read from the cache folder afterwards.

    Raises:
        SaikiError: the package espeakng-loader is missing or does not work here.
    """
    import pooch

    path = Path(pooch.os_cache("saiki"), "voices", f"digits-{FORMAT}-{count}-{seed}-{rate}")
    path = path.with_suffix(".safetensors")
    if path.is_file():
        try:
            kept, _ = tensors.load(path)
        except InputError:  # it is a cache: what is damaged is made again
            path.unlink(missing_ok=True)
        else:
            return _waves(kept), _numbers(count)
    said = say_all(
        [(digit(i % 10, voice), voice) for i, voice in enumerate(voices(count, seed))], rate
    )
    rounded = [numpy.round(w.clip(-1, 1) * 32767).astype(numpy.int16) for w in said]
    kept = {
        "samples": torch.from_numpy(numpy.concatenate(rounded)),
        "lengths": torch.tensor([len(wave) for wave in rounded]),
    }
    with suppress(SaikiError):  # without a cache folder that can be written: made each time
        tensors.save(path, kept, {"rate": rate})
    return _waves(kept), _numbers(count)


def _waves(kept: Mapping[str, Tensor]) -> tuple[Wave, ...]:
    pieces = kept["samples"].split(kept["lengths"].tolist())
    return tuple((piece.float() / 32767).numpy() for piece in pieces)


def _numbers(count: int) -> tuple[int, ...]:
    return tuple(i % 10 for i in range(count))

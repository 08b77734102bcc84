"""Batches of recorded sounds, and of synthetic speakers among them."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from saiki import processes
from saiki.data.dataset import shuffled
from saiki.data.sound.augment import Augmentation, Augmenter
from saiki.data.sound.files import Wave
from saiki.data.sound.recorded import Hearing, RecordedSounds
from saiki.data.sound.utterances import Utterances, Voices
from saiki.nn.mel import LogMel, Samples
from saiki.progress import each

EVALUATED = 64
"""Rows of a batch where nothing is learned."""
Batch = tuple[Tensor, Tensor | None, Tensor]
"""Features ``(batch, time, size)``, the real steps of each row, and the numbers of the classes."""


class Sounds(RecordedSounds[Batch]):
    """The features of what is heard of recordings, and of synthetic speakers among them."""

    hearing: Hearing
    voices: Voices
    augmentation: Augmentation

    @cached_property
    def spoken(self) -> Utterances:
        """What synthetic speakers say, and the numbers of the classes."""
        data = self.recordings
        return self.voices.build(data.classes, data.rate, self.seed)

    @property
    def spoken_in_batch(self) -> int:
        """How many rows of a batch of one process are synthetic."""
        return self.voices.in_batch(self.batching.batch_size) if self.spoken[0] else 0

    def notes(self) -> Sequence[str]:
        return self.voices.in_words(self.spoken)

    @property
    def epoch(self) -> int:
        real = self.batching.batch_size - self.spoken_in_batch
        size = real * processes.count() * self.batching.accumulate
        return max(1, math.ceil(len(self.parts.train) / size))

    def batches(self, seed: int, start: int = 0) -> Iterator[Batch]:
        spoken, train = self.spoken_in_batch, self.parts.train
        real = _rows(train, self.batching.batch_size - spoken, 2 * seed, start)
        utterances = range(len(self.spoken[0]))
        synthetic = _rows(utterances, spoken, 2 * seed + 1, start) if spoken else None
        for rows in real:
            waves = [self.recordings.waves[i] for _, i in rows]
            targets = [self.numbers[i] for _, i in rows]
            keys = [(seed, 0, place) for place, _ in rows]
            for place, i in next(synthetic) if synthetic is not None else ():
                waves.append(self.spoken[0][i])
                targets.append(self.spoken[1][i])
                keys.append((seed, 1, place))
            padded, lengths = self.hearing.padded(waves, self.dtype)
            if self._augmenter is None:
                features, steps = self._front(padded, lengths)
            else:
                features, steps = self._augmenter(padded, lengths, keys)
            yield features, steps, torch.tensor(targets)

    @cached_property
    def _front(self) -> LogMel | Samples:
        """What makes features of waves, apart from any model."""
        return self.hearing.build().to(self.dtype)

    @cached_property
    def _augmenter(self) -> Augmenter | None:
        return self.augmentation.build(self._front)

    def unchanged(self, indices: Sequence[int]) -> Iterator[Batch]:
        """Recordings as they are, the shortest first so that there is little padding."""
        waves = self.recordings.waves
        ordered = sorted(indices, key=lambda i: len(waves[i]))
        for at in each(range(0, len(ordered), EVALUATED)):
            rows = ordered[at : at + EVALUATED]
            padded = self.hearing.padded([waves[i] for i in rows], self.dtype)
            features, steps = self._front(*padded)
            yield features, steps, torch.tensor([self.numbers[i] for i in rows])

    def shown(self, count: int) -> dict[str, Wave]:
        """What is heard of some recordings of training, of as many classes as can be."""
        entries, waves = self.recordings.entries, self.recordings.waves
        chosen = self.of_each_class(self.parts.train, count)
        return {entries[i].name: self.hearing.cut(waves[i]) for i in chosen}


def _rows(
    indices: Sequence[int], batch_size: int, seed: int, start: int
) -> Iterator[list[tuple[int, int]]]:
    """Place and index of the rows of this process, of batches for all processes."""
    size = batch_size * processes.count()
    for rows in shuffled(len(indices), size, seed, start):
        yield [(place, indices[i]) for place, i in rows[processes.part(size)].tolist()]

"""Batches of recorded sounds, and of synthetic speakers among them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from saiki import processes
from saiki.data.order import shuffled
from saiki.data.skipped import in_words
from saiki.data.sound.augment import Augmentation, Augmenter
from saiki.data.sound.files import Wave
from saiki.data.sound.hearing import Hearing
from saiki.data.sound.recordings import Recordings
from saiki.data.sound.splits import Split, spread
from saiki.data.sound.utterances import Utterances, Voices
from saiki.nn.mel import LogMel, Samples
from saiki.progress import each

EVALUATED = 64
"""Rows of a batch where nothing is learned."""
Batch = tuple[Tensor, Tensor | None, Tensor]
"""Features ``(batch, time, size)``, the real steps of each row, and the numbers of the classes."""


@dataclass(frozen=True)
class Sounds:
    """Recordings in three parts, and the features of what is heard of them."""

    recordings: Recordings
    parts: Split
    hearing: Hearing
    voices: Voices
    augmentation: Augmentation
    batch_size: int
    seed: int
    dtype: torch.dtype

    @cached_property
    def numbers(self) -> list[int]:
        """The number of the class of each recording."""
        numbers = {label: i for i, label in enumerate(self.recordings.classes)}
        return [numbers[entry.label] for entry in self.recordings.entries]

    @cached_property
    def spoken(self) -> Utterances:
        """What synthetic speakers say, and the numbers of the classes."""
        data = self.recordings
        return self.voices.build(data.classes, data.rate, self.seed)

    @property
    def spoken_in_batch(self) -> int:
        """How many rows of a batch of one process are synthetic."""
        return self.voices.in_batch(self.batch_size) if self.spoken[0] else 0

    def in_words(self, sizes: str) -> str:
        """What a person should know of them.

        Args:
            sizes: what is said of the parts.
        """
        skipped = in_words(self.recordings.skipped)
        return "\n".join((sizes, *self.voices.in_words(self.spoken), *skipped))

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Of training, without end, from number ``start`` on."""
        spoken = self.spoken_in_batch
        real = self._rows(self.parts.train, self.batch_size - spoken, 0, start)
        said = self._rows(range(len(self.spoken[0])), spoken, 1, start) if spoken else None
        for rows in real:
            waves = [self.recordings.waves[i] for _, i in rows]
            targets = [self.numbers[i] for _, i in rows]
            keys = [(self.seed, 0, place) for place, _ in rows]
            for place, i in next(said) if said is not None else ():
                waves.append(self.spoken[0][i])
                targets.append(self.spoken[1][i])
                keys.append((self.seed, 1, place))
            padded, lengths = self.hearing.padded(waves, self.dtype)
            if self._augmenter is None:
                features, steps = self._front(padded, lengths)
            else:
                features, steps = self._augmenter(padded, lengths, keys)
            yield features, steps, torch.tensor(targets)

    def _rows(
        self, indices: Sequence[int], size: int, kind: int, start: int
    ) -> Iterator[list[tuple[int, int]]]:
        """Place and index of the rows of this process, of batches for all processes."""
        mine = processes.part(size * processes.count())
        seed = 2 * self.seed + kind
        for rows in shuffled(len(indices), size * processes.count(), seed, start):
            yield [(place, indices[i]) for place, i in rows[mine].tolist()]

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
        train, data = self.parts.train, self.recordings
        places = [train[i] for i in spread([data.entries[i].label for i in train], count)]
        return {data.entries[i].name: self.hearing.heard(data.waves[i]) for i in places}

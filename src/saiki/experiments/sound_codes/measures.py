"""What autoencoders with codes make of recordings that they have not learned from."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from saiki.data.dataset import Draw, IndexedDataset
from saiki.data.sound.files import Wave
from saiki.data.sound.recorded import RecordedSounds
from saiki.experiment import Figures, placed
from saiki.experiments.groups.quantisation import codebook_figures, known_labels
from saiki.models.sound_judge import SoundJudge
from saiki.models.sound_vqvae import AutoencodedSound, SoundVQVAE
from saiki.nn.quantise.quantised import entropy

TOGETHER = 64
"""Recordings that are measured at once."""
Batch = tuple[Tensor, Tensor, Tensor]
"""Waves ``(batch, samples)``, the samples of each, and the numbers of the classes."""


class LabelledWaves(RecordedSounds[Batch], IndexedDataset[Batch]):
    """What is heard of recordings."""

    def batch(self, draw: Draw) -> Batch:
        return self.padded([self.parts.train[i] for i in draw.own])

    def padded(self, indices: Sequence[int]) -> Batch:
        """Some of the recordings side by side."""
        waves = [self.recordings.waves[i] for i in indices]
        return *self.hearing.padded(waves, self.dtype), self.labels(indices)

    def by_length(self, indices: Sequence[int]) -> Iterator[Batch]:
        """The same of many, some at a time, the shortest first."""
        ordered = sorted(indices, key=lambda i: len(self.recordings.waves[i]))
        for at in range(0, len(ordered), TOGETHER):
            yield self.padded(ordered[at : at + TOGETHER])

    def waves(self, indices: Sequence[int]) -> list[Tensor]:
        """Each for itself, ``(samples,)``."""
        waves = (self.hearing.cut(self.recordings.waves[i]) for i in indices)
        return [torch.from_numpy(wave) for wave in waves]

    def labels(self, indices: Sequence[int]) -> Tensor:
        """The numbers of the classes."""
        return torch.tensor([self.numbers[i] for i in indices])


class Coded(NamedTuple):
    """A batch, and what becomes of it."""

    z: Tensor
    frames: Tensor
    lengths: Tensor
    labels: Tensor
    autoencoded: AutoencodedSound


@torch.no_grad()
def coded(model: SoundVQVAE, batch: Batch) -> Coded:
    """Waves as codes, and as spectra that come back."""
    waves, lengths, labels = placed(batch, model)
    z, frames = model.spectrum(waves, lengths)
    return Coded(z, frames, lengths, labels, model.autoencode(z, frames))


def measured(model: SoundVQVAE, sounds: LabelledWaves, indices: Sequence[int]) -> dict[str, float]:
    """Figures of each part of the model on recordings kept apart."""
    spectrum, counts = model.spectrum, torch.zeros(0)
    squares, frames, distance, power, noise, nll, steps, seconds = 8 * [0.0]
    for batch in sounds.by_length(indices):
        z, count, lengths, labels, autoencoded = coded(model, batch)
        real = torch.arange(z.shape[1], device=z.device) < count[:, None]
        back, z = autoencoded.spectra[real].clamp(-1, 1), z[real].clamp(-1, 1)
        apart = (back - z).square().mean(1).double()
        squares, frames = squares + apart.sum().item(), frames + len(z)
        distance += spectrum.decibels * apart.sqrt().sum().item()
        wanted = spectrum.magnitudes(z).double()
        power += wanted.square().sum().item()
        noise += (spectrum.magnitudes(back) - wanted).square().sum().item()
        counts = autoencoded.latent.counts + (counts if len(counts) else 0)
        steps += autoencoded.steps.sum().item()
        seconds += lengths.sum().item() / spectrum.rate
        if model.prior is not None:
            each = model.prior.nll(
                autoencoded.codes, known_labels(model.prior, labels), autoencoded.steps
            )
            nll += each.sum().item()
    figures = {
        "reconstruction_error": squares / frames,
        "log_spectral_distance": distance / frames,
        "spectral_snr": 10 * math.log10(power / noise) if noise else math.inf,
    }
    if model.quantiser.books:
        pace, books = steps / seconds, model.quantiser.books
        figures |= {
            **codebook_figures(counts),
            "codes_per_second": pace * books,
            "bits_per_second": pace * books * math.log2(model.quantiser.codes),
            "entropy_per_second": pace * entropy(counts).sum().item() / math.log(2),
        }
    if model.prior is not None:
        figures["prior_nll"] = nll / len(indices)
    return figures


@torch.no_grad()
def returned(model: SoundVQVAE, sounds: LabelledWaves, indices: Sequence[int]) -> Iterator[Tensor]:
    """The waves of recordings as they come back from codes, in their order."""
    for at in range(0, len(indices), TOGETHER):
        _, frames, lengths, _, autoencoded = coded(
            model, sounds.padded(indices[at : at + TOGETHER])
        )
        for wave in model.waves(autoencoded.spectra, frames, lengths):
            yield wave.cpu()


def new_sounds(model: SoundVQVAE, labels: Tensor, longest: int) -> list[Tensor]:
    """New sounds, one for each label, always the same; where the model knows no classes, of none in
    particular."""
    device = next(model.parameters()).device
    random = torch.Generator(device).manual_seed(0)
    waves = list[Tensor]()
    for part in labels.to(device).split(TOGETHER):
        waves += model.sample(len(part), longest, known_labels(model.prior, part), generator=random)
    return [wave.cpu() for wave in waves]


def longest_of(model: SoundVQVAE, waves: Sequence[Wave], seconds: float) -> int:
    """Steps of the longest of the waves, of which so many seconds are heard: new sounds are cut
    there."""
    rate, hop = model.spectrum.rate, model.spectrum.hop
    samples = min(max(map(len, waves)), round(seconds * rate))
    return -(-(samples // hop + 1) // model.frames_per_code)


def judge_figures(
    model: SoundVQVAE,
    sounds: LabelledWaves,
    train: Sequence[int],
    test: Sequence[int],
    updates: int,
    longest: int,
    new: int,
) -> Figures:
    """How often a classifier that learned from the recordings themselves knows the class of others,
    of what comes back of them, and of new ones; through the wave each time.

    Args:
        longest: steps at which new ones are cut.
        new: how many of each class are drawn.
    """
    classes = sounds.recordings.classes
    if not updates:
        return {}
    rate, labels = model.spectrum.rate, sounds.labels(test)
    waves, of_train = sounds.waves(train), sounds.labels(train)
    judge = SoundJudge.fitted(waves, of_train, len(classes), rate, updates)
    figures: Figures = {
        "judge_accuracy": judge.accuracy(sounds.waves(test), labels),
        "judge_accuracy_reconstructions": judge.accuracy(
            list(returned(model, sounds, test)), labels
        ),
    }
    if model.prior is not None and model.prior.classes:
        wanted = torch.arange(len(classes)).repeat_interleave(new)
        figures["judge_accuracy_samples"] = judge.accuracy(
            new_sounds(model, wanted, longest), wanted
        )
    return figures

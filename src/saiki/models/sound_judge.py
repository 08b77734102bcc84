"""A classifier that listens to sounds, to tell what other models make of them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from saiki.cells import GRU
from saiki.layers.bidirectional import Bidirectional
from saiki.models.classifier import SequenceClassifier
from saiki.nn.mel import LogMel

TOGETHER, BATCH = 256, 64
UNITS = 64
SEED = 0
"""Of its weights and of the order in which it hears sounds, so that all are judged alike."""


class SoundJudge:
    """What a :class:`SequenceClassifier` takes sounds for.

    Args:
        classifier: that has learned.
    """

    def __init__(self, classifier: SequenceClassifier) -> None:
        self.classifier = classifier

    @classmethod
    def fitted(
        cls, waves: Sequence[Tensor], labels: Tensor, classes: int, rate: int, updates: int
    ) -> "SoundJudge":
        """One that has learned the classes of waves ``(samples,)`` by Adam in so many updates,
        whose rate falls to 0.

        Args:
            labels: ``(waves,)``.
            rate: samples of a second.
        """
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(SEED)
            mel = LogMel(rate)
            layers = Bidirectional(GRU(mel.size, UNITS))
            names = [str(i) for i in range(classes)]
            model = SequenceClassifier(mel, names, layers, dropout=0.3, rate=rate)
            z, steps = _features_of(mel, waves)
            optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
            for _ in range(updates):
                rows = torch.randint(len(z), (BATCH,))
                optimiser.zero_grad()
                F.cross_entropy(model.classify(z[rows], steps[rows]), labels[rows]).backward()
                optimiser.step()
                schedule.step()
        return cls(model.eval())

    @torch.no_grad()
    def accuracy(self, waves: Sequence[Tensor], labels: Tensor) -> float:
        """The share of waves that it takes for what they are."""
        assert isinstance(self.classifier.features, LogMel)
        z, steps = _features_of(self.classifier.features, waves)
        predicted = self.classifier.classify(z, steps).argmax(1)
        return (predicted == labels).double().mean().item()


@torch.no_grad()
def _features_of(mel: LogMel, waves: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The features of all waves, made some at a time, and the steps of each."""
    parts = []
    for at in range(0, len(waves), TOGETHER):
        some = [wave.float() for wave in waves[at : at + TOGETHER]]
        lengths = torch.tensor([len(wave) for wave in some])
        parts.append(mel(pad_sequence(some, batch_first=True), lengths))
    z, steps = zip(*parts, strict=True)
    return torch.cat(z), torch.cat(steps)

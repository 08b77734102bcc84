"""An update of an exercise beside a peer: both learn the same."""

import copy
import itertools

import pytest
import torch

from batches import training_batches
from saiki.bench.updates import in_words, updates
from saiki.experiments.adder import Adder


@pytest.mark.parametrize("clip", [0.0, 0.1])
def test_both_take_the_same_updates(clip):
    experiment = Adder(batch_size=4, hidden_size=5, clip_norm=clip, device="cpu")
    batches = [*itertools.islice(training_batches(experiment), 2)]
    torch.manual_seed(0)
    ours = experiment.model()
    peer, before = copy.deepcopy(ours), copy.deepcopy(ours)
    found = updates(
        experiment, ours, peer, lambda batch: experiment.measure(peer, batch)["loss"], batches, 3
    )
    for a, b, old in zip(ours.parameters(), peer.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(a, b)
        assert not torch.equal(a, old)
    seconds = found["seconds"]
    assert found["ratio"] == seconds["torch.nn"] / seconds["saiki"]
    for name, (fastest, slowest) in found["spread"].items():
        assert 0 < fastest <= seconds[name] <= slowest
    count = sum(p.numel() for p in ours.parameters())
    assert found["weights"] == {"saiki": count, "torch.nn": count}
    assert in_words(found).endswith(f"weights {count:,} and {count:,}")

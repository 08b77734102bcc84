"""An update of an exercise beside a peer: both learn the same."""

import copy
import itertools

import pytest
import torch
from benchmarks.updates import updates

from batches import training_batches
from saiki.experiments.adder import Adder


@pytest.mark.parametrize("clip", [0.0, 0.1])
def test_both_take_the_same_updates(clip):
    experiment = Adder(batch_size=4, hidden_size=5, clip_norm=clip, device="cpu")
    batches = [*itertools.islice(training_batches(experiment), 2)]
    torch.manual_seed(0)
    ours = experiment.model()
    peer, before = copy.deepcopy(ours), copy.deepcopy(ours)

    def loss(batch):
        return experiment.measure(peer, batch)["loss"]

    row = updates("adder", experiment, ours, peer, loss, batches, 3)
    for a, b, old in zip(ours.parameters(), peer.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(a, b)
        assert not torch.equal(a, old)
    assert row["milliseconds"].keys() == row["spread"].keys() == {"saiki", "torch.nn"}
    count = sum(p.numel() for p in ours.parameters())
    assert row["weights"] == {"saiki": count, "torch.nn": count}

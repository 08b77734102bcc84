"""A recorded step beside the same step done anew each time."""

from typing import ClassVar

import pytest
import torch

from saiki.experiments.adder import Adder
from saiki.training import Training
from saiki.training.step import Step


class Anew(Adder):
    recordable: ClassVar[bool] = False


SETTINGS = {
    "report": {**Adder.preset("report")},
    "both clips": {"clip_value": 0.05, "clip_norm": 0.1},
    "cross-entropy": {"loss_function": "cross_entropy", "cell": "gru", "optimiser": "adam"},
    "wrong derivative": {**Adder.preset("report"), "activation": "tanh", "wrong_derivative": True},
}


def trained(kind, setting):
    experiment = kind.from_dict({**setting, "iterations": 60, "log_every": 1})
    torch.manual_seed(0)
    model = experiment.model()
    points = []
    Training(experiment, model).run(points.append)
    return [p.record() for p in points], list(model.parameters())


@pytest.mark.parametrize("name", SETTINGS)
def test_every_loss_norm_and_weight_is_the_same_to_the_last_bit(name):
    recorded, weights = trained(Adder, SETTINGS[name])
    anew, wanted = trained(Anew, SETTINGS[name])
    assert recorded == anew
    assert len({point["loss"] for point in recorded}) > 30
    for a, b in zip(weights, wanted, strict=True):
        assert torch.equal(a, b)


def test_batches_of_another_shape_are_recorded_anew():
    experiment = Adder.from_dict({"batch_size": 4})
    model = experiment.model()
    x, t = next(experiment.batches())
    step, anew = Step(experiment, model), Step(Anew.from_dict({"batch_size": 4}), model)
    for batch in ((x, t), (x[:3], t[:3]), (x[:, :5], t[:, :5]), (x, t)):
        assert step([batch]) == anew([batch])
        wanted = [p.grad.clone() for p in model.parameters()]
        step([batch])
        assert all(map(torch.equal, wanted, (p.grad for p in model.parameters())))
    assert len(step.recorded) == 3

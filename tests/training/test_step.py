"""A recorded step beside the same step done anew each time."""

from typing import ClassVar

import pytest
import torch
from torch import nn

from batches import training_batches
from saiki import Cell
from saiki.cells import GRU
from saiki.experiments.adder import Adder
from saiki.models.adder import AdderNetwork
from saiki.training import Training
from saiki.training.step import Step

pytestmark = pytest.mark.one_in(3)


class Unrecorded(Adder):
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
def test_every_loss_norm_and_weight_is_the_same_up_to_rounding(name):
    recorded, weights = trained(Adder, SETTINGS[name])
    unrecorded, wanted = trained(Unrecorded, SETTINGS[name])
    for a, b in zip(recorded, unrecorded, strict=True):
        assert a == pytest.approx(b, rel=1e-4, abs=1e-6)
    assert recorded != unrecorded
    assert len({point["loss"] for point in recorded}) > 30
    for a, b in zip(weights, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


class Dropping(GRU):
    def step(self, x, h):
        return super().step(x, nn.functional.dropout(h, 0.5))


class Noisy(Adder):
    """Noise inside the step, and in front of the layer."""

    def model(self):
        network = AdderNetwork(Dropping(2, 8), True, False)
        network.layer.register_forward_pre_hook(
            lambda module, inputs: (inputs[0] + torch.rand(inputs[0].shape), *inputs[1:])
        )
        return network


class NoisyUnrecorded(Noisy):
    recordable: ClassVar[bool] = False


def test_random_numbers_are_drawn_anew_each_time_and_are_the_same():
    recorded, weights = trained(Noisy, {})
    unrecorded, wanted = trained(NoisyUnrecorded, {})
    assert recorded == unrecorded
    assert len({point["loss"] for point in recorded}) > 30
    for a, b in zip(weights, wanted, strict=True):
        assert torch.equal(a, b)


def test_the_same_batch_is_never_the_same_with_noise():
    experiment = Noisy()
    step, batch = Step(experiment, experiment.model()), next(training_batches(experiment))
    losses = [step([batch])["loss"] for _ in range(5)]
    assert step.recorded
    assert len({*losses}) == 5


class Wandering(Cell):
    def step(self, x, h):
        return 0.5 * h + x.sum(1, keepdim=True) + torch.randn_like(h)


class Blind(Adder):
    """Noise that depends on no argument of the step."""

    def model(self):
        network = AdderNetwork(Wandering(2, 8), True, False)
        network.layer.register_forward_pre_hook(
            lambda module, inputs: (torch.zeros(inputs[0].shape), *inputs[1:])
        )
        return network


def test_noise_that_depends_on_nothing_is_drawn_anew_too():
    experiment = Blind()
    step, batch = Step(experiment, experiment.model()), next(training_batches(experiment))
    assert len({step([batch])["loss"] for _ in range(5)}) == 5


def test_batches_of_another_shape_are_recorded_anew():
    experiment = Adder.from_dict({"batch_size": 4})
    model = experiment.model()
    x, t = next(training_batches(experiment))
    step, unrecorded = Step(experiment, model), Step(Unrecorded.from_dict({"batch_size": 4}), model)
    for batch in (*[(x, t)] * 3, *[(x[:3], t[:3])] * 3, *[(x[:, :5], t[:, :5])] * 3, (x, t)):
        assert step([batch]) == pytest.approx(unrecorded([batch]), rel=1e-5)
        wanted = [p.grad.clone() for p in model.parameters()]
        step([batch])
        for parameter, gradient in zip(model.parameters(), wanted, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)
    assert len(step.recorded) == 3
    assert all(recording.native is not None for recording in step.recorded.values())


def test_the_first_steps_have_the_bits_of_later_ones():
    """So a training that goes on in another process ends as if it had not stopped."""
    experiment = Adder()
    model = experiment.model()
    first, batch = Step(experiment, model), next(training_batches(experiment))
    figures = [first([batch]) for _ in range(4)]
    gradients = [p.grad.clone() for p in model.parameters()]
    assert figures == [Step(experiment, model)([batch])] * 4
    assert all(map(torch.equal, gradients, (p.grad for p in model.parameters())))


def test_parameters_that_lie_elsewhere_are_recorded_anew():
    experiment = Adder()
    model = experiment.model()
    step, unrecorded = Step(experiment, model), Step(Unrecorded(), model)
    batch = next(training_batches(experiment))
    for _ in range(4):
        step([batch])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.data = parameter * 0.5
    for _ in range(4):
        assert step([batch]) == pytest.approx(unrecorded([batch]), rel=1e-5)
    weight = model.layer.cell.U.weight
    weight.data = weight.data.t()  # in the same place, the other way round
    assert step([batch]) == pytest.approx(unrecorded([batch]), rel=1e-5)


class Adapted(Adder):
    """A step that reads, beside the weights that it trains, frozen ones and a buffer."""

    recordable: ClassVar[bool] = True

    def model(self):
        torch.manual_seed(0)
        network = super().model()
        network.frozen = nn.Linear(1, 1).requires_grad_(False)
        network.part = nn.Module()
        network.part.register_buffer("scale", torch.tensor(0.5))
        network.layer.cell.U.weight.requires_grad_(False)
        return network.double()

    def measure(self, model, batch):
        loss = super().measure(model, batch)["loss"]
        return {"loss": model.frozen(loss[None]).square().sum() * (1 + model.part.scale)}


class AdaptedUnrecorded(Adapted):
    recordable: ClassVar[bool] = False


def other_weight(model):
    model.layer.cell.U.weight.data = 0.5 * model.layer.cell.U.weight


def other_frozen_layer(model):
    model.frozen = nn.Linear(1, 1).double().requires_grad_(False)


def other_buffer(model):
    model.part.scale = torch.tensor(3.0).double()


def other_place(model):
    model.part.scale.data = torch.tensor(4.0).double()


def other_layout(model):
    weight = model.layer.cell.U.weight
    weight.data = weight.data.t()


def another_is_trained(model):
    model.frozen.weight.requires_grad_(True)


CHANGES = [
    other_weight, other_frozen_layer, other_buffer, other_place, other_layout, another_is_trained,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_a_recording_reads_is_looked_for_where_it_lies(change):
    experiment = Adapted.from_dict({"precision": "float64"})
    model, batch = experiment.model(), [t.double() for t in next(training_batches(experiment))]
    step, unrecorded = Step(experiment, model), Step(AdaptedUnrecorded(), model)
    before = [step([batch])["loss"] for _ in range(4)][-1]
    assert all(recording.native is not None for recording in step.recorded.values())
    with torch.no_grad():
        change(model)
    steps = [(step([batch]), [p.grad.clone() for p in step.parameters]) for _ in range(4)]
    wanted = unrecorded([batch])
    for figures, gradients in steps:
        assert figures == pytest.approx(wanted, rel=1e-12)
        for gradient, parameter in zip(gradients, step.parameters, strict=True):
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-9, atol=1e-14)
    is_as_before = wanted["loss"] == pytest.approx(before, rel=1e-12)
    assert is_as_before == (change is another_is_trained)  # and its gradient only grows
    (recording,) = step.recorded.values()
    assert (recording.native is None) == (change is another_is_trained)


class OtherTensor(Adder):
    """A tensor that the exercise holds, and not the model."""

    recordable: ClassVar[bool] = True
    scale = torch.tensor(1.0)

    def measure(self, model, batch):
        return {"loss": super().measure(model, batch)["loss"] * self.scale}


def test_a_step_that_reads_a_tensor_of_nobody_knows_whom_is_done_anew(monkeypatch):
    experiment = OtherTensor()
    step, batch = Step(experiment, experiment.model()), next(training_batches(experiment))
    loss = [step([batch])["loss"] for _ in range(4)][-1]
    monkeypatch.setattr(OtherTensor, "scale", torch.tensor(3.0))
    assert step([batch])["loss"] == pytest.approx(3 * loss, rel=1e-6)


def test_batches_of_another_type_are_not_read_as_of_the_first():
    experiment = Adder()
    step = Step(experiment, experiment.model())
    x, t = next(training_batches(experiment))
    losses = [step([(x, t)])["loss"] for _ in range(4)]
    assert step([(x, t.double())])["loss"] == pytest.approx(losses[-1], rel=1e-5)


class Drifting(Adder):
    """Its steps are not alike: a number of Python's is part of the loss."""

    recordable: ClassVar[bool] = True
    calls: ClassVar[list[int]] = []

    def measure(self, model, batch):
        self.calls.append(1)
        return {"loss": super().measure(model, batch)["loss"] * len(self.calls)}


def test_a_step_that_is_not_the_same_each_time_is_found_out():
    experiment = Drifting()
    step, batch = Step(experiment, experiment.model()), next(training_batches(experiment))
    with pytest.warns(UserWarning, match="the recorded step of adder does not compute"):
        step([batch])
    losses = [step([batch])["loss"] for _ in range(3)]
    assert losses[1] > 1.05 * losses[0]
    assert losses[2] > 1.05 * losses[1]

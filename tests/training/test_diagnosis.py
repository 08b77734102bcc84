"""A loss that is no number any more: the layer, the time step and what to try."""

from typing import ClassVar

import pytest
import torch

from bare import Bare
from batches import training_batches
from saiki.cells import SimpleRNN
from saiki.duration import Updates
from saiki.knobs import knob
from saiki.layers.stack import Stack
from saiki.optimisation import Optimisation
from saiki.training import StoppedError, Training


class Exploding(SimpleRNN):
    """Its state doubles, and doubles again."""

    def step(self, x, h):
        return self.W(x) + 1e6 * h


class Deep(Bare):
    """Three layers, of which the second one explodes at the seventh step."""

    duration: Updates = Updates(iterations=5)
    optimisation: Optimisation = Optimisation(learning_rate=0.25)
    spoilt: bool = knob(False, "whether the data are no numbers")
    name = "deep"

    def model(self):
        return Stack([SimpleRNN(2, 3), Exploding(3, 3), SimpleRNN(3, 3)])

    def batches(self, start=0):
        while True:
            x = torch.randn(4, 12, 2, generator=torch.Generator().manual_seed(0))
            yield (x * (torch.nan if self.spoilt else 1),)

    def measure(self, model, batch):
        y, _ = model(batch[0])
        return {"loss": y.square().sum()}


def trouble(experiment):
    torch.manual_seed(0)
    with pytest.raises(StoppedError) as stopped:
        Training(experiment, experiment.model()).run(lambda point: None)
    return str(stopped.value)


def test_the_layer_that_overflows_and_its_step_are_named():
    torch.manual_seed(0)
    model = Deep().model()
    x = next(training_batches(Deep()))[0]
    h, _ = model.layers[0](x)
    h, _ = model.layers[1](h)
    step = 1 + int((~h.isfinite().all(-1).all(0)).nonzero()[0])
    why = trouble(Deep())
    assert why.startswith("the loss is nan at iteration 1: in layers.1, h overflowed at iteration")
    assert f"step {step};" in why
    assert why.endswith("try a learning_rate below 0.25 or clip_norm 1")
    assert "\n" not in why


def test_a_bound_that_is_there_already_should_be_lower():
    why = trouble(Deep(clip_norm=0.5))
    assert why.endswith("try a learning_rate below 0.25 or a clip_norm below 0.5")


def test_data_that_are_no_numbers_are_told_as_such():
    assert trouble(Deep(spoilt=True)) == (
        "the loss is nan at iteration 1: the batch itself holds NaN or infinite numbers; "
        "look at the data"
    )


class Root(Deep):
    """A model without recurrent layers and a gradient that is infinite."""

    def model(self):
        return torch.nn.Linear(2, 1)

    def measure(self, model, batch):
        return {"loss": torch.sqrt(0 * model(batch[0]).square().sum())}


def test_without_recurrent_layers_the_parameter_is_named():
    why = trouble(Root())
    assert why.startswith("the gradient is not finite at iteration 1: the gradient of weight is")


class Unlucky(Root):
    """What each pass draws, and in what precision it computes, is written down."""

    passes: ClassVar[list[tuple[float, bool]]] = []

    def measure(self, model, batch):
        self.passes.append((torch.rand(()).item(), torch.is_autocast_enabled("cpu")))
        return {"loss": torch.nan * model(batch[0]).sum()}


def test_the_pass_that_is_looked_at_is_the_one_that_failed():
    trouble(Unlucky(precision="bfloat16", accumulate=2))
    first, last = Unlucky.passes[:2], Unlucky.passes[2:]
    assert first == last
    assert all(is_mixed for _, is_mixed in first)


class Measuring(Root):
    def measure(self, model, batch):
        return {"loss": model(batch[0]).square().sum(), "perplexity": torch.tensor(torch.inf)}


def test_another_figure_that_is_no_number_is_told_by_its_name():
    assert trouble(Measuring()).startswith("perplexity is inf at iteration 1: no gradient shows")

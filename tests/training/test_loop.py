"""The training loop against updates written out by hand."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from bare import Bare
from batches import training_batches
from saiki.capabilities import Monitors
from saiki.cells import GRU
from saiki.duration import Updates
from saiki.errors import InputError
from saiki.experiment import Experiment
from saiki.knobs import knob
from saiki.layers.recurrent import Recurrent
from saiki.optimisation import RULES as ON_OFFER
from saiki.optimisation import Optimisation
from saiki.training import StoppedError, Training
from saiki.training.loop import device
from saiki.training.step import clip


class Line(Bare):
    """A straight line through three points at a time: E = ½ Σ (x w + b − t)²."""

    duration: Updates = Updates(iterations=1000)
    optimisation: Optimisation = Optimisation(batch_size=3)
    precision: str = knob("float64", "of numbers", choices=("float32", "float64"))
    breaks_at: int = knob(0, "iteration whose data are not a number; 0: none", minimum=0)
    name = "line"

    def model(self):
        torch.manual_seed(self.seed)
        return nn.Linear(2, 1).double()

    def batches(self, start=0):
        random = np.random.default_rng(self.seed)
        for step in itertools.count(1):
            size = self.optimisation.batching.batch_size
            x, t = random.normal(size=(size, 2)), random.normal(size=size)
            if step == self.breaks_at:
                t[1] = np.nan
            if step > start:
                yield torch.from_numpy(x), torch.from_numpy(t)

    def measure(self, model, batch):
        x, t = batch
        return {"loss": ((model(x)[:, 0] - t) ** 2).sum() / 2}


def trained(experiment):
    model, points = experiment.model(), []
    Training(experiment, model).run(points.append)
    return np.append(model.weight[0].detach().numpy(), model.bias.item()), points


def by_hand(experiment, rule, bound=lambda g: g):
    """Parameters, losses and norms of the same training in NumPy; ``rule`` makes the update."""
    model = experiment.model()
    w = np.append(model.weight[0].detach().numpy(), model.bias.item())
    losses, norms = [], []
    for x, t in itertools.islice(training_batches(experiment), experiment.iterations):
        x, t = np.column_stack((x, np.ones(len(x)))), t.numpy()
        errors = x @ w - t
        gradient = x.T @ errors
        losses.append((errors**2).sum() / 2)
        norms.append(np.sqrt((gradient**2).sum()))
        w = w + rule(bound(gradient))
    return w, losses, norms


def momentum(rate):
    velocity = np.zeros(3)

    def update(gradient):
        nonlocal velocity
        velocity = 0.9 * velocity + gradient
        return -rate * velocity

    return update


def adam(rate):
    """Kingma & Ba (2015), algorithm 1, with its default settings."""
    m, v, steps = np.zeros(3), np.zeros(3), itertools.count(1)

    def update(gradient):
        nonlocal m, v
        t = next(steps)
        m = 0.9 * m + 0.1 * gradient
        v = 0.999 * v + 0.001 * gradient**2
        return -rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)

    return update


def adamw(rate):
    """Loshchilov & Hutter (2019), algorithm 2: with a weight decay of 0, Adam."""
    return adam(rate)


RULES = {
    "sgd": lambda rate: lambda gradient: -rate * gradient,
    "momentum": momentum,
    "adam": adam,
    "adamw": adamw,
}


@pytest.mark.parametrize("optimiser", RULES)
def test_the_weights_move_as_the_equations_of_the_optimiser_say(optimiser):
    line = Line(iterations=25, optimiser=optimiser, learning_rate=0.03, seed=4)
    wanted, _, _ = by_hand(line, RULES[optimiser](0.03))
    np.testing.assert_allclose(trained(line)[0], wanted, rtol=1e-9)


def test_every_optimiser_on_offer_is_tested_here():
    assert set(Experiment.knob("optimiser").choices) == set(RULES) == set(ON_OFFER)


def test_clipping_by_value_bounds_each_entry():
    line = Line(iterations=20, optimiser="sgd", learning_rate=0.1, clip_value=0.7)
    wanted, _, _ = by_hand(line, RULES["sgd"](0.1), lambda g: np.clip(g, -0.7, 0.7))
    np.testing.assert_allclose(trained(line)[0], wanted, rtol=1e-12)


def scaled(g):
    return g * min(1, 0.7 / np.sqrt((g**2).sum()))


def test_clipping_by_norm_keeps_the_direction_of_the_whole_gradient():
    line = Line(iterations=20, optimiser="sgd", learning_rate=0.1, clip_norm=0.7)
    wanted, _, norms = by_hand(line, RULES["sgd"](0.1), scaled)
    assert min(norms) < 0.7 < max(norms)  # so that both cases are met
    # PyTorch adds 10⁻⁶ to the norm it divides by
    np.testing.assert_allclose(trained(line)[0], wanted, rtol=1e-4)


def test_with_both_clips_each_entry_is_bounded_first():
    p = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    p.grad = torch.tensor([30.0, 0.4], dtype=torch.float64)
    assert clip([p], 0.3, 0.1)[0] == pytest.approx(np.hypot(30, 0.4))
    want = np.array([0.3, 0.3]) / np.hypot(0.3, 0.3) * 0.1
    np.testing.assert_allclose(p.grad.numpy(), want, rtol=1e-4)


def test_a_clip_of_0_leaves_the_gradient_alone():
    p = nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([3e6, -4e6])
    assert clip([p], 0.0, 0.0)[0] == pytest.approx(5e6)
    assert p.grad.tolist() == [3e6, -4e6]


def test_a_parameter_that_the_loss_does_not_use_is_no_trouble():
    line = Line(iterations=3, optimiser="sgd", clip_value=0.1, clip_norm=0.1)
    model = line.model()
    model.unused = nn.Parameter(torch.ones(2))
    Training(line, model).run(lambda point: None)
    assert model.unused.tolist() == [1, 1]


def test_parameters_that_are_frozen_stay():
    line = Line(iterations=3, optimiser="adam", learning_rate=0.1)
    model = line.model()
    model.bias.requires_grad_(False)
    before = model.bias.item(), model.weight[0, 0].item()
    Training(line, model).run(lambda point: None)
    assert model.bias.item() == before[0]
    assert model.weight[0, 0].item() != before[1]


def test_the_points_hold_the_mean_loss_and_the_largest_norm_since_the_last():
    line = Line(iterations=7, log_every=3, optimiser="sgd", learning_rate=0.1, clip_norm=0.5)
    _, points = trained(line)
    # by hand the same clip with the 10⁻⁶ of PyTorch
    bound = lambda g: g * min(1, 0.5 / (np.sqrt((g**2).sum()) + 1e-6))  # noqa: E731
    _, losses, norms = by_hand(line, RULES["sgd"](0.1), bound)
    assert [point.step for point in points] == [3, 6, 7]
    spans = [slice(0, 3), slice(3, 6), slice(6, 7)]
    np.testing.assert_allclose(
        [p.figures["loss"] for p in points], [np.mean(losses[s]) for s in spans]
    )
    np.testing.assert_allclose(
        [p.figures["gradient_norm"] for p in points], [max(norms[s]) for s in spans]
    )


def test_the_last_iteration_is_not_told_twice():
    _, points = trained(Line(iterations=6, log_every=3))
    assert [point.step for point in points] == [3, 6]


def test_a_loss_that_is_no_number_stops_the_training_before_the_update():
    line = Line(iterations=10, breaks_at=5, log_every=2, optimiser="momentum")
    model, points = line.model(), []
    with pytest.raises(StoppedError, match=r"^the loss is nan at iteration 5: ") as stopped:
        Training(line, model).run(points.append)
    assert stopped.value.step == 5
    assert [point.step for point in points] == [2, 4]
    before = line.model()
    Training(Line(iterations=4, optimiser="momentum"), before).run(lambda point: None)
    for now, then in zip(model.parameters(), before.parameters(), strict=True):
        assert torch.equal(now, then)


class Steep(Line):
    """A finite loss with an infinite gradient: the root at 0."""

    def measure(self, model, batch):
        return {"loss": torch.sqrt(0 * model(batch[0]).square().sum())}


def test_a_gradient_that_is_no_number_stops_the_training_too():
    model = Steep().model()
    with pytest.raises(StoppedError, match=r"^the gradient is not finite at iteration 1: "):
        Training(Steep(), model).run(lambda point: None)
    assert torch.equal(model.weight, Steep().model().weight)


class Sequences(Line):
    """A recurrent layer under the loop, for the lens to look at."""

    def model(self):
        torch.manual_seed(self.seed)
        return Recurrent(GRU(2, 4)).double()

    def measure(self, model, batch):
        x, t = batch
        y, _ = model(x[None])
        return {"loss": ((y[0].sum(-1) - t) ** 2).sum()}


def test_looking_inside_leaves_the_weights_the_same_bit_by_bit():
    setting, models, points = Sequences(iterations=12, log_every=5), [], []
    for watch in (False, True):
        models.append(setting.model())
        points.append([])
        Training(setting, models[-1]).run(points[-1].append, watch=watch)
    for plain, watched in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(plain, watched)
    assert [point.step for point in points[0]] == [5, 10, 12]
    assert [point.step for point in points[1]] == [1, 5, 10, 12]  # the first look before any update
    assert all(point.view is None for point in points[0])
    assert all(set(point.view) == {""} for point in points[1])


class Counting(nn.Module):
    """A recurrent layer that keeps a moving average of what it is given."""

    def __init__(self):
        super().__init__()
        self.layer = Recurrent(GRU(2, 4))
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x):
        if self.training:
            self.mean.lerp_(x.detach().mean((0, 1)).to(self.mean), 0.5)
        return self.layer(x - self.mean)


class Counted(Sequences):
    def model(self):
        torch.manual_seed(self.seed)
        return Counting().double()


def test_looking_inside_moves_no_averages_of_the_model():
    models, setting = [], Counted(iterations=4, log_every=2)
    for watch in (False, True):
        models.append(setting.model())
        Training(setting, models[-1]).run(lambda point: None, watch=watch)
    assert torch.equal(models[0].mean, models[1].mean)
    assert models[0].mean.abs().sum() > 0


def test_the_view_of_a_point_is_that_of_its_own_iteration():
    setting, points = Sequences(iterations=2, log_every=1, optimiser="sgd"), []
    model = setting.model()
    Training(setting, model).run(points.append, watch=True)
    once = setting.model()
    Training(Sequences(iterations=1, optimiser="sgd"), once).run(lambda point: None)
    _, (x, _) = itertools.islice(training_batches(setting), 2)
    h, _ = once(x[None])  # after one update, with the second batch
    assert points[1].view[""].values["h"].mean == pytest.approx(h.mean().item(), rel=1e-12)
    assert points[0].view[""].values["h"].mean != pytest.approx(h.mean().item(), rel=1e-3)


def test_batches_together_are_one_large_batch():
    apart = Line(iterations=20, batch_size=3, accumulate=4, optimiser="adam", clip_norm=0.5)

    class Sum(Line):
        """The same rows, twelve at a time; the sum over three rows is a mean over four times."""

        def batches(self, start=0):
            parts = training_batches(Line(batch_size=3, seed=self.seed), 4 * start)
            while True:
                x, t = zip(*itertools.islice(parts, 4), strict=True)
                yield torch.cat(x), torch.cat(t)

        def measure(self, model, batch):
            return {"loss": super().measure(model, batch)["loss"] / 4}

    together = Sum(iterations=20, batch_size=12, optimiser="adam", clip_norm=0.5)
    (w, points), (wanted, whole) = trained(apart), trained(together)
    np.testing.assert_allclose(w, wanted, rtol=1e-12)
    for a, b in zip(points, whole, strict=True):
        assert a.figures == pytest.approx(b.figures, rel=1e-12)


def test_the_norm_after_clipping_is_told_beside_the_one_before():
    _, points = trained(Line(iterations=30, log_every=1, clip_norm=0.7))
    for point in points:
        before, after = point.figures["gradient_norm"], point.figures["clipped_norm"]
        assert after == pytest.approx(min(before, 0.7), rel=1e-5)
    _, points = trained(Line(iterations=3, log_every=1))
    assert "clipped_norm" not in points[0].figures


def test_the_mean_of_the_weights_follows_its_equation():
    setting = Line(iterations=30, optimiser="sgd", learning_rate=0.1, average=0.8)
    path, plain = [], Line(iterations=1, optimiser="sgd", learning_rate=0.1)
    for count in range(1, 31):
        w, _ = trained(Line(**{**plain.to_dict(), "iterations": count}))
        path.append(w)
    start = setting.model()
    mean = np.append(start.weight[0].detach().numpy(), start.bias.item())
    for i, w in enumerate(path, 1):
        decay = min(0.8, i / (i + 9))
        mean = decay * mean + (1 - decay) * w
    np.testing.assert_allclose(trained(setting)[0], mean, rtol=1e-12)


class WithScores(Monitors, Line):
    """Judged by a figure that is best at the fourth point of eight."""

    selected_by = "distance"

    def monitor(self, model):
        return {"distance": abs(next(self._distances))}

    def validate(self):
        object.__setattr__(self, "_distances", iter(range(-3, 100)))


def weights_after(iterations):
    return trained(Line(iterations=iterations, optimiser="sgd", learning_rate=0.05))[0]


SCORED = {"iterations": 40, "log_every": 5, "optimiser": "sgd", "learning_rate": 0.05}


def test_the_best_weights_are_kept_where_that_is_asked():
    np.testing.assert_array_equal(trained(WithScores(**SCORED, keep="best"))[0], weights_after(20))
    np.testing.assert_array_equal(trained(WithScores(**SCORED, keep="last"))[0], weights_after(40))


def test_training_ends_when_the_patience_is_over():
    w, points = trained(WithScores(**SCORED, patience=2))
    assert [point.step for point in points] == [5, 10, 15, 20, 25, 30]
    np.testing.assert_array_equal(w, weights_after(30))


def test_a_figure_that_is_no_number_is_never_the_best():
    class Spoilt(WithScores):
        def validate(self):
            distances = iter([math.nan, 3, 1, math.nan, 5, 6, 7, 8])
            object.__setattr__(self, "_distances", distances)

    model, points = trained(Spoilt(**SCORED, keep="best", patience=2))
    assert [point.step for point in points] == [5, 10, 15, 20, 25]
    np.testing.assert_array_equal(model, weights_after(15))


def test_looking_inside_does_not_use_up_patience():
    class Watched(WithScores, Sequences):
        """Looked into; at the first iteration there is a point more."""

        def validate(self):
            object.__setattr__(self, "_distances", iter([0, 5, 4, 3, 9, 9, 9, 9, 9]))

    steps = []
    model = Watched(**SCORED, patience=2).model()
    Training(Watched(**SCORED, patience=2), model).run(steps.append, watch=True)
    assert [point.step for point in steps] == [1, 5, 10, 15, 20, 25]


def test_a_figure_to_be_judged_by_must_be_there():
    class Lost(Line):
        selected_by = "perplexity"

    with pytest.raises(InputError, match="no figure perplexity"):
        trained(Lost(iterations=1))


def test_what_is_random_follows_from_seed_and_iteration_alone():
    class Dropped(Line):
        def model(self):
            torch.manual_seed(self.seed)
            return nn.Sequential(nn.Linear(2, 1), nn.Dropout(0.5)).double()

    def weights(disturb):
        setting = Dropped(iterations=10, seed=3)
        model = setting.model()
        Training(setting, model).run(lambda point: None, lambda: torch.rand(disturb))
        return model[0].weight

    assert torch.equal(weights(1), weights(17))


def test_a_device_that_is_not_here_is_refused():
    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(InputError, match=f"here, got '{missing}'; here there is .*cpu$"):
        trained(Line(device=missing))


def test_all_devices_that_are_here_are_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"got 'mps'; here there is cuda and cpu$"):
        device("mps")


def test_bfloat16_is_near_float32():
    knobs = {"iterations": 30, "optimiser": "sgd", "learning_rate": 0.02}

    def weights(precision):
        setting = Mixed(**knobs, precision=precision)
        model = setting.model()
        Training(setting, model).run(lambda point: None)
        assert model.weight.dtype == torch.float32
        return model.weight.detach().numpy()

    a, b = weights("bfloat16"), weights("float32")
    assert not np.array_equal(a, b)
    np.testing.assert_allclose(a, b, atol=0.05)


class Mixed(Line):
    """The same line in single precision."""

    precision: str = knob("bfloat16", "of numbers", choices=("float32", "bfloat16"))

    def model(self):
        return super().model().float()

    def measure(self, model, batch):
        x, t = (part.float() for part in batch)
        return {"loss": ((model(x)[:, 0].float() - t) ** 2).sum() / 2}

"""Adding binary numbers: a recurrent network reads two numbers bit by bit and learns to carry."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from saiki import cells
from saiki.activations import CATALOGUE
from saiki.capabilities import Monitors, Samples, Summarises
from saiki.cell import Cell
from saiki.data.series import sums
from saiki.errors import InputError, shown
from saiki.experiment import Claim, Experiment, Figures, Measures, Trial, placed, untrained
from saiki.experiments.groups.layers import CellChoice
from saiki.initialise import SCHEMES, initialise_
from saiki.knobs import Value, knob
from saiki.metrics.series import exact_sum_rate
from saiki.models.adder import AdderNetwork, WrongDerivativeRNN
from saiki.prediction import Prediction

EXPLODED = 100.0
"""A hidden state beyond this saturates the output: its bits are 0 or 1 whatever the weights do."""


def _learns(trial: Trial) -> bool:
    return trial.mean("exact_sum_rate") >= 0.99


def _fails(trial: Trial) -> bool:
    """Fewer than half of the runs learnt."""
    learnt = [value >= 0.99 for value in trial.values("exact_sum_rate")]
    return sum(learnt) < len(learnt) / 2


def _explodes(trial: Trial) -> bool:
    """In more than half of the runs the state exploded before the units died."""
    exploded = [value > EXPLODED for value in trial.values("state_peak")]
    dead = [value > 0.9 for value in trial.values("dead_units")]
    return sum(exploded) > len(exploded) / 2 and sum(dead) < len(dead) / 2


def _explosion(trial: Trial) -> str:
    at = [f"{step:.0f}" for step in trial.values("state_exploded_at") if step == step]
    return (
        f"{_rates([trial])}; |h| reaches {max(trial.values('state_peak')):.0e} and passes "
        f"{EXPLODED:g} by iteration {', '.join(at) or 'none'}; "
        f"{trial.mean('dead_units'):.0%} of the units are dead at the end"
    )


def _rates(trials: Sequence[Trial], *varied: str) -> str:
    """The rate of each trial, with its extremes over the seeds."""
    return "exact_sum_rate " + ", ".join(
        ", ".join(f"{name} {trial.knobs[name]}" for name in varied)
        + (": " if varied else "")
        + "{:.3f} ({:.3f} to {:.3f})".format(
            trial.mean("exact_sum_rate"),
            min(trial.values("exact_sum_rate")),
            max(trial.values("exact_sum_rate")),
        )
        for trial in trials
    )


CLAIMS = (
    Claim(
        "With sigmoid it learns",
        "report",
        ({},),
        lambda trials: (_learns(trials[0]), _rates(trials)),
    ),
    Claim(
        "With ReLU at the same settings it fails, because the hidden state explodes",
        "report",
        ({"activation": "relu"},),
        lambda trials: (_fails(trials[0]) and _explodes(trials[0]), _explosion(trials[0])),
    ),
    Claim(
        "With tanh at the same settings, and the true gradient, it does not converge",
        "report",
        ({"activation": "tanh"},),
        lambda trials: (_fails(trials[0]), _rates(trials)),
    ),
    Claim(
        "With tanh, a smaller learning rate and enough iterations it learns",
        "report",
        (
            {"activation": "tanh", "learning_rate": 0.1},
            {"activation": "tanh", "learning_rate": 0.05},
            {"activation": "tanh", "learning_rate": 0.02},
            {"activation": "tanh", "learning_rate": 0.01},
            {"activation": "tanh", "learning_rate": 0.02, "iterations": 30_000},
        ),
        lambda trials: (
            any(map(_learns, trials)),
            _rates(trials, "learning_rate", "iterations"),
        ),
    ),
    Claim(
        "Without biases tanh cannot bring the loss below 1/24, and with biases it can",
        "report",
        tuple(
            {"activation": "tanh", "learning_rate": 0.02, "iterations": 30_000, "bias": bias}
            for bias in (False, True)
        ),
        lambda trials: (
            min(trials[0].values("loss")) > 0.95 / 24 > trials[1].mean("loss"),
            "loss " + ", ".join(f"{t.knobs['bias']}: {t.mean('loss'):.4f}" for t in trials),
        ),
    ),
    Claim(
        "Clipping the norm of the gradient at 1 rescues ReLU",
        "report",
        ({"activation": "relu", "clip_norm": 1.0},),
        lambda trials: (_learns(trials[0]), _rates(trials)),
    ),
    Claim(
        "Clipping each entry of the gradient at 0.5 rescues ReLU",
        "report",
        ({"activation": "relu", "clip_value": 0.5},),
        lambda trials: (_learns(trials[0]), _rates(trials)),
    ),
    Claim(
        "With the wrong derivative tanh fails to learn",
        "report",
        ({"activation": "tanh", "wrong_derivative": True}, {"activation": "tanh"}),
        lambda trials: (_fails(trials[0]), _rates(trials, "wrong_derivative")),
    ),
)


class Adder(Monitors, Samples, Summarises, Experiment[AdderNetwork, sums.Bits]):
    """Two numbers below 2^(bits−1) are read bit by bit, the least significant first, and at each
    step the network puts out that bit of their sum. It has to find out about the carry by itself.
    """

    bits: int = knob(8, "bits read; the numbers are below 2^(bits−1)", minimum=2, maximum=32)
    longer_bits: int = knob(
        32, "bits of longer numbers also tested, if more than bits", minimum=2, maximum=32
    )
    recurrent: CellChoice = CellChoice(cell="rnn", hidden_size=16)
    activation: str = knob("tanh", "of the hidden state", choices=CATALOGUE)
    bias: bool = knob(True, "whether hidden and output units have biases")
    initialisation: str = knob("orthogonal", "of every weight matrix", choices=SCHEMES)
    input_scale: float = knob(1.0, "scale of the input weights", minimum=0)
    recurrent_scale: float = knob(1.0, "scale of the recurrent weights", minimum=0)
    output_scale: float = knob(1.0, "scale of the output weights", minimum=0)
    loss_function: str = knob(
        "cross_entropy",
        "of each bit, summed over the bits; squared is half the square",
        choices=("cross_entropy", "squared"),
    )
    wrong_derivative: bool = knob(
        False, "tanh learns with the sigmoid's derivative, and the output with that of tanh"
    )

    name = "adder"
    summary = "learn to add binary numbers, bit by bit"
    minutes = 0.1
    score = "exact_sum_rate"
    threads = 1
    recordable: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Value]]] = {
        "quick": {"iterations": 1000, "log_every": 50},
        "report": {
            "activation": "sigmoid",
            "iterations": 10_000,
            "batch_size": 1,
            "optimiser": "sgd",
            "learning_rate": 0.2,
            "bias": False,
            "initialisation": "normal",
            "input_scale": 1.0,
            "recurrent_scale": 2**-0.5,
            "output_scale": 16**-0.5,
            "loss_function": "squared",
        },
    }
    presets["original"] = presets["report"] | {
        "learning_rate": 0.1,
        "recurrent_scale": 1.0,
        "output_scale": 1.0,
    }
    presets["wrong-derivative"] = presets["report"] | {
        "activation": "tanh",
        "wrong_derivative": True,
    }

    claims = CLAIMS

    def validate(self) -> None:
        if self.wrong_derivative and (self.recurrent.cell, self.activation) != ("rnn", "tanh"):
            raise InputError("wrong_derivative is about cell rnn with activation tanh")
        if self.wrong_derivative and self.loss_function != "squared":
            raise InputError("wrong_derivative is about loss_function squared")

    @cached_property
    def data(self) -> sums.Sums:
        return sums.Sums(self.optimisation.batching, self.bits)

    def model(self) -> AdderNetwork:
        size = self.recurrent.hidden_size
        model = AdderNetwork(self._cell(), self.bias, self.wrong_derivative)
        for name, layer in model.layer.cell.named_modules():
            if isinstance(layer, nn.Linear):
                scale = self.input_scale if name.startswith("W") else self.recurrent_scale
                gates = max(1, layer.out_features // size)
                initialise_(layer.weight, self.initialisation, scale, gates)
        initialise_(model.readout.weight, self.initialisation, self.output_scale)
        return model

    def _cell(self) -> Cell:
        if self.wrong_derivative:
            return WrongDerivativeRNN(2, self.recurrent.hidden_size, self.bias)
        options = {"activation": self.activation, "bias": self.bias}
        changed = {n: value for n, value in options.items() if value != self.knob(n).default}
        return cells.make(self.recurrent.cell, 2, self.recurrent.hidden_size, **changed)

    def measure(self, model: AdderNetwork, batch: sums.Bits) -> Measures:
        bits, target = batch
        v = model(bits)
        if self.loss_function == "squared":
            loss = ((model.output(v) - target) ** 2).sum() / (2 * len(target))
        else:
            loss = F.binary_cross_entropy_with_logits(v, target, reduction="sum") / len(target)
        return {"loss": loss}

    @torch.no_grad()
    def evaluate(self, model: AdderNetwork) -> Figures:
        x, t = self._held(model, self.bits)
        figures: Figures = {"loss": self.measure(model, (x, t))["loss"].item()}
        figures |= {"exact_sum_rate": exact_sum_rate(model(x), t)}
        if self.longer_bits > self.bits:
            x, t = self._held(model, self.longer_bits)
            figures["exact_sum_rate_longer"] = exact_sum_rate(model(x), t)
        return figures

    def _held(self, model: AdderNetwork, bits: int) -> sums.Bits:
        x, t = placed(sums.encode(sums.kept_apart(bits), bits), model)
        return x, t

    @torch.no_grad()
    def monitor(self, model: AdderNetwork) -> dict[str, float]:
        x, _ = self._held(model, self.bits)
        h, _ = model.layer(x[:256])
        constant = h.flatten(0, 1).std(0) == 0
        return {"state_max": h.abs().max().item(), "dead_units": constant.float().mean().item()}

    def summarise(self, curve: Sequence[Mapping[str, float]]) -> Figures:
        exploded = (point["step"] for point in curve if point["state_max"] > EXPLODED)
        return {
            "state_peak": max((point["state_max"] for point in curve), default=None),
            "state_exploded_at": next(exploded, None),
            "dead_units": curve[-1]["dead_units"] if curve else None,
        }

    def sample(self, model: AdderNetwork) -> str:
        width = self.bits - 1
        pairs = sums.kept_apart(self.bits)[:3].tolist()
        return "   ".join(self._add(model, p >> width, p % 2**width)[0] for p in pairs)

    def predict(self, model: AdderNetwork, text: str) -> Prediction:
        match = re.fullmatch(r"\s*(\d{1,30})\s*\+\s*(\d{1,30})\s*", text)
        if match is None:
            raise InputError(f"the adder takes a sum such as '37 + 58', got {shown(text)}")
        a, b = int(match[1]), int(match[2])
        if a + b >= 2**62:
            raise InputError(f"the sum must be below 2^62, got {text!r}")
        line, value = self._add(model, a, b)
        figures = {"correct": value == a + b}
        return Prediction(input=text, output=str(value), figures=figures, text=line)

    @torch.no_grad()
    def _add(self, model: AdderNetwork, a: int, b: int) -> tuple[str, int]:
        bits = max(self.bits, (a + b).bit_length(), a.bit_length() + 1, b.bit_length() + 1)
        x = torch.tensor([[[(n >> i) & 1 for n in (a, b)] for i in range(bits)]])
        value = sum(int(bit) << i for i, bit in enumerate(model(placed(x.float(), model))[0] > 0))
        mark = "✓" if value == a + b else f"✗ ({a + b})"
        return f"{a} + {b} = {value}  {mark}", value

    def equations(self) -> str:
        loss = {
            "squared": "E = Σₜ ½ (yᵗ − sᵗ)²    s is the right one",
            "cross_entropy": "E = −Σₜ (sᵗ ln yᵗ + (1 − sᵗ) ln(1 − yᵗ))    s is the right one",
        }[self.loss_function]
        bits = "x = (a, b)    the bits of the two numbers at each step, the least significant first"
        return "\n".join((bits, untrained(self.model).equations(), loss))

"""Adding binary numbers: a recurrent network reads two numbers bit by bit and learns to carry."""

import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki import processes
from saiki.activations import CATALOGUE
from saiki.cell import Cell
from saiki.cells import FAMILIES, GRU, LSTM, SimpleRNN
from saiki.errors import InputError
from saiki.experiment import Claim, Experiment, Figures, Measures, Trial, placed
from saiki.initialise import SCHEMES, initialise_
from saiki.knobs import Value, knob
from saiki.recurrent import Recurrent
from saiki.saving.pretrained import DescribedModule

KEPT_APART = 2000
EXPLODED = 100.0
"""A hidden state beyond this saturates the output: its bits are 0 or 1 whatever the weights do."""

Batch = tuple[Tensor, Tensor]
"""The bits of two numbers, ``(batch, bits, 2)``, and of their sum, ``(batch, bits)``."""


class BorrowedDerivative(torch.autograd.Function):
    """y = f(u) in the forward pass, and in the backward pass a slope that is not f′(u)."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, f: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.save_for_backward(u)
        ctx.slope = slope
        return f(u)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (u,) = ctx.saved_tensors
        return gradients[0] * ctx.slope(u), None, None


def tanh_with_slope_of_sigmoid(u: Tensor) -> Tensor:
    """tanh(u), taught the derivative σ(u) (1 − σ(u))."""
    y: Tensor = BorrowedDerivative.apply(u, torch.tanh, CATALOGUE["sigmoid"].derivative)
    return y


def sigmoid_with_slope_of_tanh(u: Tensor) -> Tensor:
    """y = σ(u), taught the derivative 1 − tanh²(y)."""

    def slope(u: Tensor) -> Tensor:
        return CATALOGUE["tanh"].derivative(torch.sigmoid(u))

    y: Tensor = BorrowedDerivative.apply(u, torch.sigmoid, slope)
    return y


class WrongDerivativeRNN(SimpleRNN, name="wrong_derivative_rnn.v1"):
    """A tanh network whose backward pass was forgotten when sigmoid was changed to tanh.

    hᵗ = tanh(uᵗ), but its derivative is taken to be σ(uᵗ) (1 − σ(uᵗ)). ``check`` names every
    gradient this spoils.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__(input_size, hidden_size, tanh_with_slope_of_sigmoid, bias)


class AdderNetwork(DescribedModule, name="adder_network.v1"):
    """A recurrent layer and one sigmoid output unit: the bit of the sum at each step.

    yᵗ = σ(W_out hᵗ + c)
    """

    def __init__(self, cell: Cell, bias: bool, wrong_derivative: bool = False) -> None:
        super().__init__()
        self.layer = Recurrent(cell)
        self.readout = nn.Linear(self.layer.output_size, 1, bias=bias)
        self.output = sigmoid_with_slope_of_tanh if wrong_derivative else torch.sigmoid

    def forward(self, bits: Tensor) -> Tensor:
        """The pre-activation of each bit of the sum, ``(batch, bits)``."""
        h, _ = self.layer(bits)
        v: Tensor = self.readout(h).squeeze(-1)
        return v


@dataclass(frozen=True)
class Adder(Experiment[AdderNetwork, Batch]):
    """Two numbers below 2^(bits−1) are read bit by bit, the least significant first, and at each
    step the network puts out that bit of their sum. It has to find out about the carry by itself.
    """

    iterations: int = knob(3000, "updates of the weights", minimum=1)
    bits: int = knob(8, "bits read; the numbers are below 2^(bits−1)", minimum=2, maximum=32)
    longer_bits: int = knob(
        32, "bits of longer numbers also tested, if more than bits", minimum=2, maximum=32
    )
    hidden_size: int = knob(16, "units of the hidden state", minimum=1, maximum=4096)
    cell: str = knob("rnn", "the recurrent cell", choices=tuple(FAMILIES))
    activation: str = knob("tanh", "of the hidden state", choices=tuple(CATALOGUE))
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
    score = "exact_sum_rate"
    threads = 1
    same_operations: ClassVar[bool] = True
    presets: ClassVar[dict[str, dict[str, Value]]] = {
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

    claims: ClassVar[tuple[Claim, ...]] = (
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

    def validate(self) -> None:
        if self.wrong_derivative and (self.cell, self.activation) != ("rnn", "tanh"):
            raise InputError("wrong_derivative is about cell rnn with activation tanh")
        if self.wrong_derivative and self.loss_function != "squared":
            raise InputError("wrong_derivative is about loss_function squared")

    def model(self) -> AdderNetwork:
        match self.cell:
            case "lstm":
                cell: Cell = LSTM(2, self.hidden_size, activation=self.activation, bias=self.bias)
            case "gru":
                cell = GRU(2, self.hidden_size, activation=self.activation, bias=self.bias)
            case _ if self.wrong_derivative:
                cell = WrongDerivativeRNN(2, self.hidden_size, self.bias)
            case _:
                cell = SimpleRNN(2, self.hidden_size, self.activation, self.bias)
        model = AdderNetwork(cell, self.bias, self.wrong_derivative)
        for name, weight in cell.named_parameters():
            if weight.ndim == 2:
                scale = self.input_scale if name.startswith("W") else self.recurrent_scale
                initialise_(weight, self.initialisation, scale, len(weight) // self.hidden_size)
        initialise_(model.readout.weight, self.initialisation, self.output_scale)
        return model

    def batches(self, start: int = 0) -> Iterator[Batch]:
        return itertools.islice(self._draws(), start, None)

    def _draws(self) -> Iterator[Batch]:
        size = self.batch_size * processes.count()
        random = np.random.default_rng(self.seed)
        apart = np.sort(self.kept_apart(self.bits))
        mine = processes.part(size)
        while True:
            pairs = random.integers(0, self._pairs(self.bits), 4096 * max(1, size // 64))
            x, t = self.encode(pairs[~np.isin(pairs, apart)], self.bits)
            whole = len(x) - len(x) % size
            for bits, target in zip(x[:whole].split(size), t[:whole].split(size), strict=True):
                yield bits[mine], target[mine]

    def example(self) -> Tensor:
        return self.encode(np.arange(2), self.bits)[0]

    def measure(self, model: AdderNetwork, batch: Batch) -> Measures:
        bits, target = batch
        v = model(bits)
        if self.loss_function == "squared":
            loss = ((model.output(v) - target) ** 2).sum() / (2 * len(target))
        else:
            loss = F.binary_cross_entropy_with_logits(v, target, reduction="sum") / len(target)
        return {"loss": loss}

    @torch.no_grad()
    def evaluate(self, model: AdderNetwork) -> Figures:
        x, t = placed(self.encode(self.kept_apart(self.bits), self.bits), model)
        figures: Figures = {"loss": self.measure(model, (x, t))["loss"].item()}
        figures |= {"exact_sum_rate": exact_sum_rate(model(x), t)}
        if self.longer_bits > self.bits:
            x, t = placed(self.encode(self.kept_apart(self.longer_bits), self.longer_bits), model)
            figures["exact_sum_rate_longer"] = exact_sum_rate(model(x), t)
        return figures

    @torch.no_grad()
    def monitor(self, model: AdderNetwork) -> dict[str, float]:
        x, _ = placed(self.encode(self.kept_apart(self.bits)[:256], self.bits), model)
        h, _ = model.layer(x)
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
        pairs = self.kept_apart(self.bits)[:3]
        width = self.bits - 1
        shown = (self._add(model, int(p) >> width, int(p) % 2**width) for p in pairs)
        return "   ".join(line for line, _ in shown)

    def predict(self, model: AdderNetwork, text: str) -> dict[str, Any]:
        match = re.fullmatch(r"\s*(\d{1,30})\s*\+\s*(\d{1,30})\s*", text)
        if match is None:
            shown = text if len(text) <= 80 else f"{text[:80]}…"
            raise InputError(f"the adder takes a sum such as '37 + 58', got {shown!r}")
        a, b = int(match[1]), int(match[2])
        if a + b >= 2**62:
            raise InputError(f"the sum must be below 2^62, got {text!r}")
        started = time.perf_counter()
        line, value = self._add(model, a, b)
        return {
            "input": text,
            "output": str(value),
            "correct": value == a + b,
            "text": line,
            "seconds": time.perf_counter() - started,
        }

    def equations(self) -> str:
        return "\n".join(
            (
                "xᵗ = (aᵗ, bᵗ)            the bits of the two numbers, least significant first",
                {
                    "rnn": f"hᵗ = {self.activation}(W xᵗ + U hᵗ⁻¹ + b)",
                    "lstm": "hᵗ, cᵗ = LSTM(xᵗ, hᵗ⁻¹, cᵗ⁻¹)",
                    "gru": "hᵗ = GRU(xᵗ, hᵗ⁻¹)",
                }[self.cell],
                "yᵗ = σ(W_out hᵗ + c)     the bit of the sum",
                "E = Σₜ ½ (yᵗ − sᵗ)²"
                if self.loss_function == "squared"
                else "E = −Σₜ (sᵗ ln yᵗ + (1 − sᵗ) ln(1 − yᵗ))",
            )
        )

    @staticmethod
    def encode(pairs: np.ndarray[Any, Any], bits: int) -> Batch:
        """Numbers a · 2^(bits−1) + b as the bits of a and b and of a + b."""
        a, b = pairs >> (bits - 1), pairs & ((1 << (bits - 1)) - 1)
        places = np.arange(bits)
        x = np.stack([(n[:, None] >> places) & 1 for n in (a, b)], -1)
        t = ((a + b)[:, None] >> places) & 1
        return torch.from_numpy(x).float(), torch.from_numpy(t).float()

    @classmethod
    def kept_apart(cls, bits: int) -> np.ndarray[Any, Any]:
        """The pairs never trained on: 2,000 of them, or a quarter of all if there are few."""
        count = min(KEPT_APART, cls._pairs(bits) // 4)
        random = np.random.default_rng(bits)
        if cls._pairs(bits) <= 2**20:
            return random.permutation(cls._pairs(bits))[:count]
        pairs = np.unique(random.integers(0, cls._pairs(bits), 2 * count))
        return random.permutation(pairs)[:count]

    @staticmethod
    def _pairs(bits: int) -> int:
        return int(4 ** (bits - 1))

    @torch.no_grad()
    def _add(self, model: AdderNetwork, a: int, b: int) -> tuple[str, int]:
        bits = max(self.bits, (a + b).bit_length(), a.bit_length() + 1, b.bit_length() + 1)
        x = torch.tensor([[[(n >> i) & 1 for n in (a, b)] for i in range(bits)]])
        value = sum(int(bit) << i for i, bit in enumerate(model(placed(x.float(), model))[0] > 0))
        mark = "✓" if value == a + b else f"✗ ({a + b})"
        return f"{a} + {b} = {value}  {mark}", value


def exact_sum_rate(v: Tensor, target: Tensor) -> float:
    """Share of the sums with every bit right, from the pre-activations of the bits."""
    return ((v > 0) == (target > 0.5)).all(1).float().mean().item()


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

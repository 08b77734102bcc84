"""Cells of the corpus, found in its modules, and what becomes of each under the backend auto."""

import importlib
import inspect
import signal
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from compiler.comparison import assert_same, draw, eager, outcome, randomised
from saiki import Cell, Recurrent

BATCH, TIME = 3, 5
LENGTHS = (None, torch.tensor([2, 5, 3]))
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-3}
SIZES = (5, 7)
"""Of the input and the state, where a cell has no ``sizes`` of its own."""


SELDOM = frozenset(
    [
        "AntisymmetricRNN",
        "AssociativeLSTM",
        "BRC",
        "BottleneckLSTM",
        "CIFG",
        "CTLSTM",
        "ChaosFree",
        "ComplexLRU",
        "CosineNorm",
        "DEQ",
        "DeepTransition",
        "DelayLine",
        "DreamerGRU",
        "DynamicTanhRNN",
        "FastGRNN",
        "FastSlowRNN",
        "FiLMRNN",
        "GORU",
        "GRUODE",
        "GatedAntisymmetricRNN",
        "GatedDeltaNet",
        "GatedLinearAttention",
        "HGRN",
        "HMLSTM",
        "HardResetLIF",
        "HarmonicOscillators",
        "HopfieldNetwork",
        "HouseholderRNN",
        "HyperRNN",
        "IntersectionRNN",
        "JANET",
        "Jordan",
        "KroneckerRNN",
        "LEM",
        "LRU",
        "LayerNormGRU",
        "LiGRU",
        "MGU",
        "MILSTM",
        "MUT1",
        "Mamba2",
        "MinLSTM",
        "MinimalRNN",
        "MogrifierGRU",
        "MultiplicativeLSTM",
        "NBRC",
        "NestedLSTM",
        "NormalisedWeightsByHand",
        "ODELSTM",
        "PartialRMSNorm",
        "PlainESN",
        "PolynomialRNN",
        "PredictiveCoding",
        "RGLRU",
        "RNTN",
        "RSSM",
        "RWKVChannelMix",
        "RecurrentExperts",
        "S5",
        "STAR",
        "SVDRNN",
        "ScaledHMMForward",
        "ShallowRHN",
        "SparseRNN",
        "SpikingGRU",
        "StateHeads",
        "SteadyKalman",
        "StraightThroughLIF",
        "TTTLinear",
        "TensorProductRNN",
        "TimeAwareLSTM",
        "UGRNN",
        "UnICORNN",
        "VanDerPol",
        "WeightDroppedLSTM",
        "WeightNormLSTM",
        "Zoneout",
    ]
)
"""Cells that ask of a compiler what others ask too; ``tools/attack.py corpus`` runs them."""


class TooSlow(BaseException):
    """Not an Exception, so that nothing that falls back to the eager loop takes it for one."""


@dataclass(frozen=True)
class Outcome:
    """``kind`` is compiled, eager, REFUTED, WRONG or CRASH; ``why`` says more of all but compiled.

    REFUTED is a layer that found its own kernel wrong: its user gets what is right, but the kernel
    is a fault.
    """

    kind: str
    why: str = ""


def cells() -> dict[str, type[Cell]]:
    """Every cell that a module beside this one defines with its paper in the docstring."""
    outcomes = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem == "outcomes" or path.stem.startswith("test_"):
            continue
        module = importlib.import_module(f"corpus.{path.stem}")
        for name, value in vars(module).items():
            if not (inspect.isclass(value) and issubclass(value, Cell)):
                continue
            if value.__module__ == module.__name__ and "step" in vars(value):
                assert name not in outcomes, f"two cells are called {name}"
                outcomes[name] = value
    return outcomes


def paper(cell: type[Cell]) -> str:
    """Authors, year and place, which end the first line of the docstring in parentheses."""
    first = (cell.__doc__ or "").split("\n\n")[0]
    return " ".join(first.split()).partition("(")[2].rstrip(".").removesuffix(")")


def build(cell: type[Cell], dtype: torch.dtype) -> Recurrent:
    torch.manual_seed(0)
    return randomised(Recurrent(cell(*getattr(cell, "sizes", SIZES))), dtype)


def judge(cell: type[Cell], dtype: torch.dtype, limit: float = 20.0) -> Outcome:
    """Compare the layer with its eager loop: outputs, last states and all gradients."""
    layer = build(cell, dtype)
    oracle = eager(layer)
    x = draw(BATCH, TIME, layer.input_size, dtype=dtype).requires_grad_()
    states = tuple(0.5 * draw(BATCH, size, dtype=dtype) for size in layer.cell.state_sizes)
    start = states if len(states) > 1 else states[0]
    for lengths in LENGTHS:
        expected = outcome(oracle, x, start, lengths)
        assert all(v is None or v.isfinite().all() for v in expected.values()), "no oracle: NaN"
        try:
            with step_by_step_allowed(), within(limit):
                actual = outcome(layer, x, start, lengths)
        except (Exception, TooSlow) as error:
            return Outcome("CRASH", _last_words(error))
        different = differences(actual, expected, TOLERANCE[dtype])
        if different:
            return Outcome("WRONG", ("" if lengths is None else "ragged: ") + "; ".join(different))
    try:
        with within(limit):
            why = layer.why_eager(dtype)
    except (Exception, TooSlow) as error:
        return Outcome("CRASH", "why_eager: " + _last_words(error))
    if why is None:
        return Outcome("compiled")
    return Outcome("REFUTED" if "fault of saiki" in why else "eager", why)


def differences(
    actual: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], tolerance: float
) -> list[str]:
    """A sentence for each tensor that is not the one expected."""
    problems = []
    for name in expected:
        try:
            assert_same({name: actual[name]}, {name: expected[name]}, tolerance)
        except AssertionError as error:
            problems.append(str(error).splitlines()[0])
    return problems


@contextmanager
def step_by_step_allowed() -> Iterator[None]:
    """Every warning is an error but for the one that says that a layer goes step by step."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="running step by step: ")
        yield


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise :class:`TooSlow` where the body takes longer."""

    def stop(*_: object) -> None:
        raise TooSlow(f"not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _last_words(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__} at {where}: {first}"

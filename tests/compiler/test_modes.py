"""The first call of a layer may happen inside somebody else's mode, and so may any later one.

What comes out is what comes out without the mode; where ``torch.nn`` cannot do it either, one error
says so. Afterwards the layer is compiled and right, as if the mode had never been.
"""

import contextlib
import copy
import io
import itertools
import subprocess
import sys
import warnings
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils._per_sample_grad import call_for_per_sample_grads
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

import saiki.nn
from compiler.twins import OF_PYTORCH, cell, ignored, in_a_child, inputs, linear
from saiki import Bidirectional, Recurrent, SaikiError, swap
from saiki.cells import GRU

pytestmark = [
    pytest.mark.one_in(5),
    *[
        ignored(message)
        for message in (
            *OF_PYTORCH,
            ":torch.jit.TracerWarning",
            "Anomaly Detection has been enabled:UserWarning",
            "The tensor attributes? .* assigned during export:UserWarning",
            "There is a performance drop because we have not yet implemented:UserWarning",
            "Exporting a model to ONNX with a batch_size:UserWarning",
            ".*legacy TorchScript-based ONNX export:DeprecationWarning",
            "The feature will be removed:DeprecationWarning",
        )
    ],
]


def leaky():
    return cell(
        lambda self, x, h: 0.9 * h + torch.tanh(self.W(x) + self.U(h)),
        W=linear(3, 4),
        U=linear(4, 4),
    )


def swapped():
    model = nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 4, batch_first=True))
    swap(model)
    return model


KINDS = {
    "Recurrent": lambda: Recurrent(leaky()),
    "Bidirectional": lambda: Bidirectional(leaky()),
    "LSTM": lambda: saiki.nn.LSTM(3, 4, batch_first=True),
    "GRU": lambda: saiki.nn.GRU(3, 4, 2, bidirectional=True, batch_first=True),
    "swapped": swapped,
}


def of_torch(kind):
    """What ``torch.nn`` has in the place of a layer of that kind."""
    if kind == "swapped":
        return nn.Sequential(nn.Linear(3, 3), nn.LSTM(3, 4, batch_first=True)).double()
    if kind == "GRU":
        return nn.GRU(3, 4, 2, bidirectional=True, batch_first=True).double()
    return nn.LSTM(3, 4, batch_first=True, bidirectional=kind == "Bidirectional").double()


def step_by_step(layer):
    """A copy with the same weights whose parts all run on the eager loop."""
    twin = copy.deepcopy(layer)
    for part in twin.modules():
        if hasattr(part, "backend"):
            part.backend = "eager"
    return twin


def outputs(layer, x):
    return tree_leaves(layer(x))


def trained(layer, x, call=None):
    """Outputs, then the gradients of x and of all parameters."""
    x = x.detach().clone().requires_grad_()
    actual = (call or outputs)(layer, x)
    loss = sum((i + 1) * output.square().sum() for i, output in enumerate(actual))
    wanted = [x, *layer.parameters()]
    return [*actual, *torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)]


def within(mode, call=trained):
    """A way to call a layer: within a context."""

    def run(layer, x):
        with mode():
            return call(layer, x)

    return run


class Log(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


class LogFunctions(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


def compiled_by(backend, fullgraph=False):
    def run(layer, x):
        torch._dynamo.reset()
        compiled = torch.compile(layer, backend=backend, fullgraph=fullgraph)
        return trained(layer, x, lambda _, x: outputs(compiled, x))

    return run


def exported(strict):
    def run(layer, x):
        program = torch.export.export(layer, (x,), strict=strict)
        return outputs(program.module(), x)

    return run


def traced_by_make_fx(mode):
    def run(layer, x):
        trace = make_fx(lambda x: outputs(layer, x), tracing_mode=mode, _allow_non_fake_inputs=True)
        with torch.no_grad():
            return list(trace(x)(x))

    return run


def traced_symbolically(layer, x):
    return outputs(torch.fx.symbolic_trace(nn.Sequential(layer)), x)


def traced_to_torchscript(layer, x):
    return outputs(torch.jit.trace(nn.Sequential(layer), (x,), check_trace=False), x)


def scripted(layer, x):
    return outputs(torch.jit.script(nn.Sequential(layer)), x)


def stack(x):
    return torch.stack([x, 0.5 * x])


def mapped(layer, x):
    return list(torch.func.vmap(lambda x: tuple(outputs(layer, x)))(stack(x)))


def one_by_one(layer, x):
    return [
        torch.stack(parts) for parts in zip(*(outputs(layer, s) for s in stack(x)), strict=True)
    ]


def loss(layer, x):
    return sum(output.square().sum() for output in outputs(layer, x))


def gradient_by_func(layer, x):
    return [torch.func.grad(lambda x: loss(layer, x))(x)]


def gradient(layer, x):
    x = x.clone().requires_grad_()
    return list(torch.autograd.grad(loss(layer, x), x))


def gradients_of_weights_by_func(layer, x):
    def of(weights):
        y = torch.func.functional_call(layer, weights, (x,))
        return sum(output.square().sum() for output in tree_leaves(y))

    return list(torch.func.grad(of)(dict(layer.named_parameters())).values())


def gradients_of_weights(layer, x):
    return list(torch.autograd.grad(loss(layer, x), list(layer.parameters())))


def slope(layer, x):
    return list(torch.func.jvp(lambda x: tuple(outputs(layer, x)), (x,), (x.cos(),))[1])


def slope_of_dual_numbers(layer, x):
    with forward_ad.dual_level():
        actual = outputs(layer, forward_ad.make_dual(x, x.cos()))
        return [forward_ad.unpack_dual(output).tangent for output in actual]


def slope_by_two_gradients(layer, x):
    x = x.clone().requires_grad_()
    slopes = []
    for output in outputs(layer, x):
        v = torch.zeros_like(output, requires_grad=True)
        (back,) = torch.autograd.grad(output, x, v, create_graph=True)
        slopes += torch.autograd.grad(back, v, x.detach().cos(), retain_graph=True)
    return slopes


def called_functionally(layer, x):
    weights = {name: 0.5 * p for name, p in layer.named_parameters()}
    return tree_leaves(torch.func.functional_call(layer, weights, (x,)))


def with_half_the_weights(layer, x):
    layer = copy.deepcopy(layer)
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(0.5)
    return outputs(layer, x)


def checkpointed(reentrant):
    def call(layer, x):
        return checkpoint(lambda x: tuple(outputs(layer, x)), x, use_reentrant=reentrant)

    def run(layer, x):
        if not reentrant:
            return trained(layer, x, call)
        for p in layer.parameters():
            p.grad = None
        x = x.clone().requires_grad_()
        actual = call(layer, x)
        sum((i + 1) * output.square().sum() for i, output in enumerate(actual)).backward()
        return [*actual, x.grad, *(p.grad for p in layer.parameters())]

    return run


def packed():
    return torch.autograd.graph.saved_tensors_hooks(lambda t: t.clone().numpy(), torch.from_numpy)


def cotangents(y):
    return torch.stack([torch.ones_like(y), y.detach().cos(), y.detach()])


def batched_gradients(layer, x):
    y = outputs(layer, x)[0]
    wanted = list(layer.parameters())
    return list(torch.autograd.grad(y, wanted, cotangents(y), is_grads_batched=True))


def gradients_in_turn(layer, x):
    y = outputs(layer, x)[0]
    wanted = list(layer.parameters())
    actual = [torch.autograd.grad(y, wanted, v, retain_graph=True) for v in cotangents(y)]
    return [torch.stack(parts) for parts in zip(*actual, strict=True)]


def jacobian(vectorize):
    def run(layer, x):
        return [
            torch.autograd.functional.jacobian(
                lambda x: outputs(layer, x)[0][:, -1], x[:2, :2], vectorize=vectorize
            )
        ]

    return run


def per_row(layer, x):
    for p in layer.parameters():
        p.grad = p.grad_sample = None
    try:
        y = tree_leaves(call_for_per_sample_grads(layer, batch_size=len(x))(x))[0]
        y.square().sum().backward()
        return [p.grad_sample for p in layer.parameters()]
    finally:
        for p in layer.parameters():
            p.grad = None
            del p.grad_sample


def row_by_row(layer, x):
    wanted = list(layer.parameters())
    actual = [torch.autograd.grad(outputs(layer, row[None])[0].square().sum(), wanted) for row in x]
    return [torch.stack(parts) for parts in zip(*actual, strict=True)]


def on_fake_tensors(layer, x):
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        return outputs(layer, mode.from_tensor(x))


def on_meta_tensors(layer, x):
    return outputs(copy.deepcopy(layer).to("meta"), x.to("meta"))


@dataclass
class Mode:
    """A way to call a layer, and the plain way to the same numbers."""

    run: Any
    plain: Any = trained
    values: bool = True
    may_refuse: bool = False
    """Whether one sentence is enough even though ``torch.nn`` can do it."""


MODES = {
    "compile, eager": Mode(compiled_by("eager")),
    "compile, aot_eager": Mode(compiled_by("aot_eager")),
    "compile, whole": Mode(compiled_by("eager", fullgraph=True)),
    "export": Mode(exported(strict=False), outputs),
    "export, strict": Mode(exported(strict=True), outputs),
    "make_fx, real": Mode(traced_by_make_fx("real"), outputs),
    "make_fx, fake": Mode(traced_by_make_fx("fake"), outputs),
    "make_fx, symbolic": Mode(traced_by_make_fx("symbolic"), outputs),
    "symbolic_trace": Mode(traced_symbolically, outputs),
    "anomaly": Mode(within(lambda: torch.autograd.set_detect_anomaly(True))),
    "flops": Mode(within(lambda: FlopCounterMode(display=False))),
    "dispatch": Mode(within(Log)),
    "function": Mode(within(LogFunctions)),
    "no_grad": Mode(within(torch.no_grad, outputs), outputs),
    "inference": Mode(within(torch.inference_mode, outputs), outputs),
    "autocast": Mode(within(lambda: torch.autocast("cpu", torch.bfloat16))),
    "vmap": Mode(mapped, one_by_one),
    "func.grad": Mode(gradient_by_func, gradient),
    "func.grad of weights": Mode(gradients_of_weights_by_func, gradients_of_weights),
    "jvp": Mode(slope, slope_by_two_gradients),
    "dual numbers": Mode(slope_of_dual_numbers, slope_by_two_gradients),
    "functional_call": Mode(called_functionally, with_half_the_weights),
    "checkpoint": Mode(checkpointed(reentrant=False)),
    "checkpoint, reentrant": Mode(checkpointed(reentrant=True)),
    "saved tensors": Mode(within(packed)),
    "batched gradients": Mode(batched_gradients, gradients_in_turn),
    "jacobian": Mode(jacobian(vectorize=True), jacobian(vectorize=False)),
    "fake tensors": Mode(on_fake_tensors, outputs, values=False),
    "meta tensors": Mode(on_meta_tensors, outputs, values=False),
    "default device": Mode(within(lambda: torch.device("meta"), outputs), outputs),
    "per-sample gradients": Mode(per_row, row_by_row, may_refuse=True),
}
SCRIPTS = {
    "trace": Mode(traced_to_torchscript, outputs),
    "script": Mode(scripted, outputs, may_refuse=True),
}


def nodes(y):
    """How many operations autograd has recorded."""
    seen, stack = set(), [y.grad_fn]
    while stack:
        node = stack.pop()
        if node is not None and node not in seen:
            seen.add(node)
            stack += [n for n, _ in node.next_functions]
    return len(seen)


def assert_close(actual, expected, values=True):
    assert len(actual) == len(expected)
    for a, b in zip(actual, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        if values:
            torch.testing.assert_close(a.detach(), b.detach(), rtol=1e-9, atol=1e-9)


def assert_compiled_and_right(layer, twin, x):
    """It is not enough to be right: the loop over the steps must not have come back."""
    assert_close(trained(layer, x), trained(twin, x))
    counts = [nodes(outputs(layer, inputs(time=time))[0]) for time in (4, 9)]
    assert counts[0] == counts[1], "the layer runs step by step"
    if isinstance(layer, Recurrent):
        assert layer.why_eager(x.dtype) is None


def refusal(mode, layer, x):
    """The error that a layer raises in that mode, None if it has a result."""
    try:
        mode.run(layer, x)
    except Exception as error:
        return error
    return None


def attempt(mode, kind, layer, twin, x):
    try:
        actual = mode.run(layer, x)
    except Exception as error:
        if not refuses_well(error, mode, kind, x):
            raise
    else:
        assert_close(actual, mode.plain(twin, x), mode.values)


def refuses_well(error, mode, kind, x):
    """One sentence of ours where ``torch.nn`` need not serve, or the error that it has too."""
    theirs = refusal(mode, of_torch(kind), x)
    if isinstance(error, SaikiError):
        return (mode.may_refuse or theirs is not None) and len(str(error).splitlines()) == 1
    return theirs is not None and type(error) is type(theirs)


def check(mode, kind):
    """Cold, as it is afterwards, and warm; a failure does not hide in what comes first."""
    torch.manual_seed(0)
    layer = KINDS[kind]().double()
    twin, x = step_by_step(layer), inputs()
    failures = []
    for when, trial in (
        ("cold", lambda: attempt(mode, kind, layer, twin, x)),
        ("afterwards", lambda: assert_compiled_and_right(layer, twin, x)),
        ("warm", lambda: attempt(mode, kind, layer, twin, x)),
        ("at the end", lambda: assert_compiled_and_right(layer, twin, x)),
    ):
        try:
            trial()
        except Exception as error:
            message = str(error).strip().splitlines() or [""]
            failures.append(f"{when}: {type(error).__name__}: {message[0]}")
    assert not failures, "\n" + "\n".join(failures)


def by_turns(modes):
    """Each mode with a layer of a cell, and with one of the other kinds by turns, for time."""
    others = itertools.cycle([kind for kind in KINDS if kind != "Recurrent"])
    return [(mode, kind) for mode in modes for kind in ("Recurrent", next(others))]


@pytest.mark.parametrize(("mode", "kind"), by_turns(MODES))
def test_in_a_mode(mode, kind):
    check(MODES[mode], kind)


def check_script(mode, kind):
    check(SCRIPTS[mode], kind)


@pytest.mark.parametrize(("mode", "kind"), by_turns(SCRIPTS))
def test_in_torchscript(mode, kind):
    in_a_child(check_script, mode, kind)


def export_by_torchscript(kind):
    def export(layer, x):
        torch.onnx.export(nn.Sequential(layer), (x.float(),), io.BytesIO(), dynamo=False)

    layer = KINDS[kind]().float()
    for _ in range(2):
        with contextlib.suppress(SaikiError, torch.onnx.errors.OnnxExporterError):
            export(layer, inputs())
    x = inputs().float()
    for a, b in zip(outputs(layer, x), outputs(step_by_step(layer), x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["Recurrent", "LSTM", "swapped"])
def test_in_the_old_export_to_onnx(kind):
    """It goes through TorchScript: a file is written, or one sentence refuses, twice the same."""
    pytest.importorskip("onnx")
    in_a_child(export_by_torchscript, kind)


LOADS = """
import pathlib, sys, torch, saiki
from torch.utils._pytree import tree_leaves
folder = pathlib.Path(sys.argv[1])
for kind in (saiki.cells.GRU, saiki.cells.LSTM):  # whose kernels have small numbers here
    saiki.Recurrent(kind(3, 4).double())(torch.randn(5, 6, 3).double())
for path in sorted(folder.glob("*.pt2")):
    x, expected = torch.load(path.with_suffix(".numbers"))
    try:
        found = tree_leaves(torch.export.load(path).module()(x))
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    except Exception as error:
        path.with_suffix(".failure").write_text(f"{type(error).__name__}: {error}")
    else:
        path.with_suffix(".success").touch()
"""


@pytest.fixture(scope="module")
def loaded_elsewhere(tmp_path_factory):
    """Files of layers of each kind, and what came of them in another process."""
    folder, refusals = tmp_path_factory.mktemp("exported"), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in KINDS:
            torch.manual_seed(0)
            layer = KINDS[kind]().double()
            twin, x = step_by_step(layer), inputs()
            outputs(layer, x)
            path = folder / f"{kind}.pt2"
            try:
                torch.export.save(torch.export.export(layer, (x,)), path)
            except Exception as error:
                refusals[kind] = error
            else:
                expected = [t.detach() for t in outputs(twin, x)]
                torch.save((x, expected), path.with_suffix(".numbers"))
    words = [sys.executable, "-c", LOADS, str(folder)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return folder, refusals


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_exported_can_be_loaded_elsewhere(kind, loaded_elsewhere):
    """Where it cannot, the export says so: a file holds nothing that only this process knows."""
    folder, refusals = loaded_elsewhere
    if kind in refusals:
        assert isinstance(refusals[kind], SaikiError)
        assert len(str(refusals[kind]).splitlines()) == 1
        return
    failure = folder / f"{kind}.failure"
    assert not failure.exists(), failure.read_text()
    assert (folder / f"{kind}.success").exists()


def test_a_mode_that_logs_sees_the_user_and_not_the_compiler():
    """What a first call compiles is no part of what the user's mode is told."""
    layer, x = KINDS["Recurrent"]().double(), inputs()
    seen = []
    for _ in range(2):
        with Log() as log, torch.no_grad():
            layer(x)
        seen.append(log.seen)
    assert seen[0] == seen[1]


def test_flops_are_those_of_a_warm_layer():
    layer, x = KINDS["Recurrent"]().double(), inputs()
    counts = []
    for _ in range(2):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            layer(x)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1]


def test_autocast_of_a_layer_in_single_precision():
    """A state rounded at each step drifts: the loop keeps its own type, from the first call on."""
    layer = Recurrent(GRU(3, 4))
    x = inputs().float()
    expected, _ = step_by_step(layer)(x)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            y, _ = layer(x)
        torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    assert layer.why_eager(torch.float32) is None


def test_nested_modes():
    """Modes of several kinds at once."""
    layer = KINDS["Recurrent"]().double()
    twin, x = step_by_step(layer), inputs()

    def run(layer, x):
        with torch.autograd.set_detect_anomaly(True), Log(), LogFunctions():
            return trained(layer, x)

    assert_close(run(layer, x), trained(twin, x))
    assert_compiled_and_right(layer, twin, x)


def test_a_first_call_in_a_backward_pass():
    """Such as a checkpoint recomputes, or a hook on a gradient makes."""
    layer, x = KINDS["Recurrent"]().double(), inputs().requires_grad_()
    twin, actual = step_by_step(layer), []
    y = x * 2
    y.register_hook(lambda gradient: actual.append(layer(x.detach())[0]))
    y.sum().backward()
    assert_close(actual, [twin(x.detach())[0]])
    assert_compiled_and_right(layer, twin, x.detach())

"""PyTorch's own tests of its recurrent modules, with ours in the place of theirs.

PyTorch ships the inputs (``torch.testing._internal.common_modules``) but not what runs them,
``test/test_modules.py``; what is done with each input here is what is done there.
"""

import copy
import itertools
import pickle
import re
from contextlib import contextmanager

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.utils.rnn import PackedSequence
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
from torch.utils._pytree import tree_leaves, tree_map

import saiki.nn
from nn.pairs import without_onednn_warning

NAMES = ["RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"]
INFOS = {i.module_cls.__name__: i for i in module_db if i.module_cls.__name__ in NAMES}
MODES = [True, False]
BUILT = {}
"""Kernels of modules made with the same arguments: each is compiled once for all tests here."""

pytestmark = [
    pytest.mark.one_in(4),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.parametrize("name", NAMES),
]


@contextmanager
def same_draws():
    """What is drawn inside is drawn again afterwards."""
    with torch.random.fork_rng():
        yield


def inputs(name, dtype=torch.float64, requires_grad=False, training=True):
    """Of each sample: our module, its arguments, and the module of torch.nn with its weights."""
    info = INFOS[name]
    inputs_of_torch = info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=requires_grad, training=training
    )
    for sample in inputs_of_torch:
        args, kwargs = sample.constructor_input.args, sample.constructor_input.kwargs
        with same_draws():
            theirs = info.module_cls(*args, **kwargs).to(dtype).train(training)
        ours = getattr(saiki.nn, name)(*args, **kwargs).to(dtype).train(training)
        if isinstance(ours, torch.nn.RNNBase):
            key = {**ours.arguments(), "batch_first": None}
            ours._saiki_built = BUILT.setdefault((name, str(key)), {})
        yield ours, sample, theirs


def call(module, sample):
    return module(*sample.forward_input.args, **sample.forward_input.kwargs)


def leaves(value):
    """Its tensors, those of packed sequences too."""
    return [v for v in tree_leaves(value) if isinstance(v, torch.Tensor)]


def change(value, function):
    """``value`` with each tensor changed."""
    if isinstance(value, PackedSequence):
        return PackedSequence(function(value.data), *value[1:])
    return tree_map(lambda v: function(v) if isinstance(v, torch.Tensor) else v, value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("training", MODES, ids=["train", "eval"])
@pytest.mark.long
def test_forward(name, dtype, training):
    count = 0
    every = 3 if dtype == torch.float32 else 1  # each type has kernels of its own
    samples = inputs(name, dtype, training=training)
    for module, sample, theirs in itertools.islice(samples, 0, None, every):
        actual = call(module, sample)
        torch.testing.assert_close(actual, call(theirs, sample), rtol=1e-5, atol=1e-5)
        if sample.reference_fn is not None:
            args, kwargs = sample.forward_input.args, sample.forward_input.kwargs
            expected = sample.reference_fn(module, *args, **kwargs)
            torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
        count += 1
    assert count > 0


def test_factory_kwargs(name):
    for dtype in (torch.float32, torch.float64):
        for module, sample, _ in inputs(name):
            args, kwargs = sample.constructor_input.args, sample.constructor_input.kwargs
            made = type(module)(*args, **kwargs, device="meta", dtype=dtype)
            for p in made.parameters():
                assert p.is_meta
                assert p.dtype == dtype


@pytest.mark.parametrize("device", [None, "meta"])
def test_made_on_another_default_device(name, device):
    info = INFOS[name]
    sample = next(iter(inputs(name)))[1]
    args, kwargs = sample.constructor_input.args, sample.constructor_input.kwargs
    with torch.device("meta"):
        made = getattr(saiki.nn, info.module_cls.__name__)(*args, **kwargs, device=device)
    assert all(p.is_meta for p in made.parameters())


def test_repr(name):
    for module, _, theirs in inputs(name):
        assert str(module) == repr(module) == repr(theirs)


@pytest.mark.parametrize("training", MODES, ids=["train", "eval"])
def test_pickle_and_save(name, training, tmp_path):
    for module, sample, _ in itertools.islice(inputs(name, training=training), 1):
        expected = call(module, sample)
        twins = [pickle.loads(pickle.dumps(module)), copy.deepcopy(module)]
        torch.save(module, tmp_path / "module.pt")
        twins.append(torch.load(tmp_path / "module.pt", weights_only=False))
        for twin in twins:
            assert twin.training == training
            torch.testing.assert_close(call(twin, sample), expected, rtol=0, atol=0)


@pytest.mark.long
def test_in_place_or_not_and_non_contiguous_tensors(name):
    def stretched(t):
        if t.ndim == 0 or not t.is_floating_point():
            return t
        wide = torch.stack([torch.full_like(t, float("nan")), t], -1)
        return wide[..., 1].detach().requires_grad_(t.requires_grad)

    for module, sample, _ in inputs(name, requires_grad=True):
        args, kwargs = sample.forward_input.args, sample.forward_input.kwargs
        before = [t.detach().clone() for t in leaves(args)]
        expected = call(module, sample)
        for a, b in zip(leaves(args), before, strict=True):
            assert torch.equal(a, b)
        weights = list(module.parameters())
        gradients = torch.autograd.grad(
            sum(t.sum() for t in leaves(expected) if t.requires_grad), weights, retain_graph=True
        )
        other = change(args, stretched)
        assert not any(
            t.is_contiguous() for t in leaves(other) if t.is_floating_point() and t.numel() > 1
        )
        outputs = module(*other, **kwargs)
        torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
        total = sum(t.sum() for t in leaves(outputs) if t.requires_grad)
        strided = torch.autograd.grad(total, weights)
        torch.testing.assert_close(strided, gradients, rtol=0, atol=1e-12)


def check(name, training, checker, every):
    """``checker`` over all inputs, states and parameters of samples, as PyTorch calls it.

    No sample has dropout, so that two are enough in evaluation.
    """
    samples = inputs(name, requires_grad=True, training=training)
    some = itertools.islice(samples, 0, None if training else 2, every if training else 1)
    for module, sample, _ in some:
        args = sample.forward_input.args
        names, parameters = zip(*module.named_parameters(), strict=True)
        flat = [t for t in leaves(args) if t.requires_grad]
        run = as_function(module, args, names)
        assert checker(run, (*flat, *parameters), check_batched_grad=True, fast_mode=True)


def as_function(module, args, names):
    """A function of the tensors in ``args`` that require a gradient and of parameters."""

    def run(*values):
        count = len(values) - len(names)
        rest, weights = iter(values[:count]), dict(zip(names, values[count:], strict=True))
        new = change(args, lambda t: next(rest) if t.requires_grad else t)
        results = leaves(torch.func.functional_call(module, weights, new))
        return tuple(r for r in results if r.is_floating_point())

    return run


@pytest.mark.parametrize("training", MODES, ids=["train", "eval"])
def test_grad(name, training):
    check(name, training, gradcheck, every=1)


@pytest.mark.parametrize("training", MODES, ids=["train", "eval"])
@pytest.mark.long
def test_gradgrad(name, training):
    check(name, training, gradgradcheck, every=3)  # in the eager loop, thus slow


def test_batched_gradients_are_those_one_by_one(name):
    for module, sample, theirs in itertools.islice(inputs(name, requires_grad=True), 0, None, 3):
        gradients = []
        for layer in (module, theirs):
            y = leaves(call(layer, sample))[0]
            of = [*(t for t in leaves(sample.forward_input.args) if t.requires_grad)]
            of += layer.parameters()
            basis = torch.eye(y.numel(), dtype=y.dtype).view(-1, *y.shape)
            if layer is module:
                gradients.append(
                    torch.autograd.grad(y, of, basis, is_grads_batched=True, retain_graph=True)
                )
            rows = [torch.autograd.grad(y, of, d, retain_graph=True) for d in basis]
            gradients.append([torch.stack(column) for column in zip(*rows, strict=True)])
        for a, b, c in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(b, c, rtol=1e-9, atol=1e-12)


def test_train_and_eval_agree_with_torch(name):
    for training in MODES:
        for module, sample, theirs in inputs(name, training=training):
            assert module.training == theirs.training == training
            actual, expected = call(module, sample), call(theirs, sample)
            torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-12)
            module.train(not training)
            torch.testing.assert_close(call(module, sample), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("assign", [True, False])
def test_to_and_load_state_dict(name, assign):
    for module, sample, theirs in inputs(name):
        call(module, sample)
        module.float()
        module.double().load_state_dict(theirs.state_dict(), assign=assign)
        expected = call(theirs, sample)
        torch.testing.assert_close(call(module, sample), expected, rtol=1e-10, atol=1e-12)


def test_to_where_parameters_are_swapped(name, request):
    torch.__future__.set_swap_module_params_on_conversion(True)
    request.addfinalizer(lambda: torch.__future__.set_swap_module_params_on_conversion(False))
    for module, sample, theirs in inputs(name):
        call(module, sample)
        before = [id(p) for p in module.parameters()]
        module.float().double()
        assert [id(p) for p in module.parameters()] == before
        weights = [torch.randn_like(p) for p in module.parameters()]
        for layer in (module, theirs):
            with torch.no_grad():
                for p, w in zip(layer.parameters(), weights, strict=True):
                    p.copy_(w)
        expected = call(theirs, sample)
        torch.testing.assert_close(call(module, sample), expected, rtol=1e-10, atol=1e-12)


def test_to_empty(name):
    for module, sample, theirs in inputs(name):
        module.to("meta").to_empty(device="cpu").load_state_dict(theirs.state_dict())
        expected = call(theirs, sample)
        torch.testing.assert_close(call(module, sample), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.preserve_format])
def test_memory_format(name, layout):
    for module, sample, theirs in inputs(name):
        module.to(memory_format=layout)
        new = change(sample.forward_input.args, lambda t: t.contiguous())
        torch.testing.assert_close(module(*new), theirs(*new), rtol=1e-10, atol=1e-12)


def test_errors(name):
    info, count = INFOS[name], 0
    for sample in info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=False, training=True
    ):
        arguments = sample.module_error_input.constructor_input
        expected = pytest.raises(sample.error_type, match=re.compile(sample.error_regex))
        if sample.error_on == ModuleErrorEnum.CONSTRUCTION_ERROR:
            with expected:
                getattr(saiki.nn, name)(*arguments.args, **arguments.kwargs)
        else:
            module = getattr(saiki.nn, name)(*arguments.args, **arguments.kwargs)
            with expected:
                without_onednn_warning(lambda m=module, s=sample: call(m, s.module_error_input))
        count += 1
    assert count > 0

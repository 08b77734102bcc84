"""RNN, LSTM and GRU beside those of torch.nn: the same weights, so the same numbers."""

import copy
import io
import itertools
import pickle
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

import saiki.nn
from compiler.comparison import assert_same
from nn.pairs import (
    KINDS,
    LENGTHS,
    TOLERANCE,
    failure,
    names_of,
    outcome,
    packed,
    pair,
    states,
)
from saiki import InputError

pytestmark = [
    pytest.mark.one_in(4),
    pytest.mark.filterwarnings(
        "ignore:LSTM with projections is not supported with oneDNN:UserWarning"
    ),
]
FAMILIES = ["RNN", "LSTM", "GRU"]


def draw(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype)


def inputs(size, dtype):
    """Every form of input: whether the batch comes first, the input, its number of rows."""
    for batch_first in (False, True):
        yield batch_first, draw(6, size, dtype=dtype), None
        yield batch_first, draw(*((4, 6) if batch_first else (6, 4)), size, dtype=dtype), 4
    for enforced, order in ((True, "sorted"), (False, "sorted"), (False, "unsorted")):
        x = packed(draw(4, 6, size, dtype=dtype), LENGTHS[order], enforced)
        yield False, x, 4


class TestNumbers:
    @pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
    @pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
    @pytest.mark.parametrize(
        ("layers", "dtype"),
        [(1, torch.float64), (2, torch.float64), (2, torch.float32)],
        ids=["1 layer", "2 layers", "2 layers, float32"],
    )
    @pytest.mark.parametrize("kind", KINDS)
    def test_outputs_states_and_all_gradients_are_those_of_torch(
        self, kind, layers, dtype, bidirectional, bias
    ):
        family, arguments = KINDS[kind]
        size = 3
        if layers == 2:  # both layers of one size, so that one kernel serves both
            size = arguments.get("proj_size", 5) * (1 + bidirectional)
        theirs, ours = pair(
            family,
            size,
            5,
            layers,
            bias=bias,
            bidirectional=bidirectional,
            dtype=dtype,
            **arguments,
        )
        ours.backend = "cpu"  # which refuses where torch.nn might step in
        for batch_first, x, batch in inputs(size, dtype):
            theirs.batch_first = ours.batch_first = batch_first
            for hx in (None, states(theirs, batch, dtype)):
                assert_same(outcome(ours, x, hx), outcome(theirs, x, hx), TOLERANCE[dtype])

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize(
        "stretch",
        [
            lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
            lambda x: x[:, :1].expand_as(x),
            lambda x: torch.stack([x, x], -1)[..., 0],
        ],
        ids=["transposed", "expanded", "every second number"],
    )
    def test_of_tensors_that_do_not_lie_in_order(self, family, stretch):
        theirs, ours = pair(family, 3, 5, bidirectional=True, dtype=torch.float64)
        x, hx = draw(6, 4, 3), states(theirs, 4)
        hx = tuple(map(stretch, hx)) if family == "LSTM" else stretch(hx)
        y, ends = ours(stretch(x), hx)
        expected, expected_ends = theirs(stretch(x), hx)
        torch.testing.assert_close((y, ends), (expected, expected_ends), rtol=0, atol=1e-12)

    @settings(max_examples=30, deadline=None)
    @given(
        which=st.sampled_from(FAMILIES),
        lengths=st.lists(st.integers(1, 9), min_size=1, max_size=9),
        has_states=st.booleans(),
        seed=st.integers(0, 99),
    )
    def test_of_ragged_batches_of_any_size(self, which, lengths, has_states, seed):
        torch.manual_seed(seed)
        theirs, ours = lasting_pair(which)
        x = packed(draw(len(lengths), max(lengths), 3), lengths)
        hx = states(theirs, len(lengths)) if has_states else None
        assert_same(outcome(ours, x, hx), outcome(theirs, x, hx), 1e-10)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_packed_result_unpacks_like_its_input(self, family):
        theirs, ours = pair(family, 3, 5, bidirectional=True)
        x = packed(draw(4, 6, 3, dtype=torch.float32), LENGTHS["unsorted"])
        y, expected = ours(x)[0], theirs(x)[0]
        assert isinstance(y, PackedSequence)
        padded, lengths = pad_packed_sequence(y, batch_first=True)
        expected, _ = pad_packed_sequence(expected, batch_first=True)
        torch.testing.assert_close(padded, expected)
        assert lengths.tolist() == [4, 1, 6, 4]

    @pytest.mark.parametrize("family", FAMILIES)
    def test_rows_of_an_empty_batch_are_none_as_in_torch(self, family):
        for layer in pair(family, 3, 5, 2, bidirectional=True):
            y, ends = layer(torch.zeros(6, 0, 3))
            assert y.shape == (6, 0, 10)
            for end in ends if family == "LSTM" else (ends,):
                assert end.shape == (4, 0, 5)

    def test_second_derivatives_are_those_of_torch(self):
        def curvature(layer):
            y, _ = layer(x)
            (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
            return torch.autograd.grad(slope.square().sum(), [x, *layer.parameters()])

        theirs, ours = pair("GRU", 3, 5, dtype=torch.float64)
        x = draw(4, 2, 3).requires_grad_()
        for a, b in zip(curvature(ours), curvature(theirs), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)

    @pytest.mark.parametrize("which", [0, 1], ids=["y", "h"])
    def test_results_may_be_changed_in_place_before_the_backward_pass(self, which):
        layer = saiki.nn.LSTM(3, 5, dtype=torch.float64)
        x = draw(6, 4, 3).requires_grad_()
        expected = torch.autograd.grad(2 * layer(x)[0].sum() + 2 * layer(x)[1][0].sum(), x)
        y, (h, _) = layer(x)
        (y, h)[which].mul_(2)
        (y, h)[1 - which].add_((y, h)[1 - which].clone())
        torch.testing.assert_close(torch.autograd.grad(y.sum() + h.sum(), x), expected)


@cache
def lasting_pair(family):
    return pair(family, 3, 5, bidirectional=True, dtype=torch.float64)


class TestDropout:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_is_off_in_evaluation(self, family):
        theirs, ours = (m.eval() for m in pair(family, 3, 5, 3, dropout=0.5, dtype=torch.float64))
        x = draw(6, 4, 3)
        assert_same(outcome(ours, x), outcome(theirs, x), 1e-10)

    @pytest.mark.parametrize("backend", ["cpu", "eager"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("p", [0.5, 1.0])
    @pytest.mark.parametrize("bidirectional", [False, True], ids=["one way", "both ways"])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_drops_what_torch_drops_from_the_same_seed(
        self, family, bidirectional, p, dtype, backend
    ):
        theirs, ours = pair(
            family, 5 * (1 + bidirectional), 5, 3, dropout=p, bidirectional=bidirectional,
            dtype=dtype,
        )  # fmt: skip
        ours.backend = backend
        for batch_first, x, _ in inputs(ours.input_size, dtype):
            theirs.batch_first = ours.batch_first = batch_first
            actual, expected = outcome(ours, x, seed=3), outcome(theirs, x, seed=3)
            assert_same(actual, expected, TOLERANCE[dtype])

    @pytest.mark.parametrize("batch_first", [False, True])
    def test_leaves_the_mean_and_lies_between_layers_alone(self, batch_first):
        layer = passing(saiki.nn.RNN(20, 20, 3, "relu", batch_first=batch_first, dropout=0.3))
        y, _ = layer(torch.ones(30, 40, 20))
        shares = [(y == value).double().mean().item() for value in (0, 1 / 0.7, 1 / 0.49)]
        assert shares[0] == pytest.approx(1 - 0.49, abs=0.01)
        survivors = y[y != 0]
        torch.testing.assert_close(survivors, torch.full_like(survivors, 1 / 0.49))
        assert y.mean().item() == pytest.approx(1, abs=0.02)  # 24000 draws

    def test_of_everything_leaves_nothing(self):
        layer = passing(saiki.nn.RNN(2, 2, 2, "relu", dropout=1.0))
        assert layer(torch.ones(3, 4, 2))[0].abs().max() == 0


def passing(layer):
    """Each layer of ReLUs returns what it gets, if that is positive."""
    with torch.no_grad():
        for name, p in layer.named_parameters():
            p.copy_(torch.eye(len(p))) if "weight_ih" in name else p.zero_()
    return layer


class TestModule:
    """What torch.nn promises of a module beside its numbers."""

    @pytest.mark.parametrize("kind", KINDS)
    def test_begins_with_the_weights_of_torch_from_the_same_seed(self, kind):
        family, arguments = KINDS[kind]
        both = []
        for library in (torch.nn, saiki.nn):
            torch.manual_seed(4)
            layer = getattr(library, family)(3, 5, 2, bidirectional=True, **arguments)
            both.append(list(layer.named_parameters()))
            layer.reset_parameters()
            both[-1] += layer.named_parameters()
        theirs, ours = both
        assert [name for name, _ in ours] == [name for name, _ in theirs]
        assert all(torch.equal(a, b) for (_, a), (_, b) in zip(ours, theirs, strict=True))

    @pytest.mark.parametrize("kind", KINDS)
    def test_weights_load_either_way(self, kind):
        family, arguments = KINDS[kind]
        arguments = {**arguments, "bidirectional": True, "bias": kind != "GRU"}
        theirs = getattr(torch.nn, family)(3, 5, 2, **arguments)
        ours = getattr(saiki.nn, family)(3, 5, 2, backend="eager", **arguments)
        theirs.load_state_dict(ours.state_dict(), strict=True)
        x = draw(6, 4, 3, dtype=torch.float32)
        torch.testing.assert_close(ours(x), theirs(x))
        file = io.BytesIO()
        torch.save(theirs.state_dict(), file)
        file.seek(0)
        other = getattr(saiki.nn, family)(3, 5, 2, backend="eager", **arguments)
        other.load_state_dict(torch.load(file, weights_only=True), strict=True)
        torch.testing.assert_close(other(x), theirs(x))

    @pytest.mark.parametrize(
        "arguments",
        [
            {},
            {"num_layers": 2, "bias": False, "batch_first": True},
            {"num_layers": 2, "dropout": 0.5, "bidirectional": True},
        ],
    )
    @pytest.mark.parametrize("family", FAMILIES)
    def test_looks_the_same(self, family, arguments):
        theirs, ours = pair(family, 3, 5, **arguments)
        assert repr(ours) == repr(theirs)
        assert isinstance(ours, type(theirs))
        names = [[id(p) for p in group] for group in ours.all_weights]
        parameters = [id(p) for p in ours.parameters()]
        assert list(itertools.chain(*names)) == parameters
        assert list(map(len, ours.all_weights)) == list(map(len, theirs.all_weights))
        assert ours.flatten_parameters() is None

    @pytest.mark.parametrize("family", FAMILIES)
    @pytest.mark.parametrize(
        "twin_of",
        [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
        ids=["deep copy", "pickle"],
    )
    def test_a_copy_computes_the_same_with_weights_of_its_own(self, family, twin_of):
        layer = getattr(saiki.nn, family)(3, 5, bidirectional=True)
        x = draw(6, 4, 3, dtype=torch.float32)
        expected = outcome(layer, x)  # there is a kernel now, which stays behind
        twin = twin_of(layer)
        assert layer._saiki_built
        assert not twin._saiki_built
        with torch.no_grad():
            for p in layer.parameters():
                p.zero_()
        assert_same(outcome(twin, x), expected, 0)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_meta_layer_has_shapes_and_no_numbers(self, family):
        layer = getattr(saiki.nn, family)(3, 5, device="meta")
        y, _ = layer(torch.zeros(6, 4, 3, device="meta"))
        assert y.is_meta
        assert y.shape == (6, 4, 5)
        layer = layer.to_empty(device="cpu")
        theirs = getattr(torch.nn, family)(3, 5)
        layer.load_state_dict(theirs.state_dict())
        x = draw(6, 4, 3, dtype=torch.float32)
        torch.testing.assert_close(layer(x), theirs(x))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_takes_other_weights_for_a_call(self, family, dtype):
        theirs, ours = pair(family, 3, 5)
        x = draw(6, 4, 3, dtype=dtype)
        before = ours(x.float())
        weights = {n: draw(*p.shape, dtype=dtype) for n, p in ours.named_parameters()}
        weights["weight_hh_l0"].requires_grad_()
        results = [torch.func.functional_call(m, weights, (x,))[0] for m in (ours, theirs)]
        torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
        slopes = [torch.autograd.grad(y.sum(), weights["weight_hh_l0"])[0] for y in results]
        torch.testing.assert_close(*slopes, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(ours(x.float()), before, rtol=0, atol=0)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_weight_may_be_replaced(self, family):
        theirs, ours = pair(family, 5, 5, 2, dtype=torch.float64)
        x = draw(6, 4, 5)
        ours(x)
        for layer in (theirs, ours):
            torch.manual_seed(8)
            for name in ("weight_hh_l0", "bias_ih_l1"):
                setattr(layer, name, torch.nn.Parameter(torch.randn_like(getattr(layer, name))))
        assert_same(outcome(ours, x), outcome(theirs, x), 1e-10)

    @pytest.mark.parametrize("name", ["weight_hh_l0", "weight_ih_l0"])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_a_weight_may_be_normed(self, family, name):
        theirs, ours = pair(family, 3, 5, dtype=torch.float64)
        theirs, ours = weight_norm(theirs, name), weight_norm(ours, name)
        x = draw(6, 4, 3)
        for _ in range(2):
            assert_same(outcome(ours, x), outcome(theirs, x), 1e-10)
            with torch.no_grad():
                for layer in (theirs, ours):
                    getattr(layer.parametrizations, name).original0.mul_(1.5)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_flat_weights_may_be_replaced(self, family):
        theirs, ours = pair(family, 5, 5, 2, bidirectional=True, dtype=torch.float64)
        x = draw(6, 4, 5)
        before = outcome(ours, x)
        torch.manual_seed(8)
        weights = [torch.randn_like(w).requires_grad_() for w in theirs._flat_weights]
        gradients = []
        for layer in (theirs, ours):
            layer._flat_weights = list(weights)
            y, _ = layer(x)
            gradients.append(torch.autograd.grad(y.square().sum(), weights))
        torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)
        assert all(g.abs().max() > 0 for g in gradients[1])
        for layer in (theirs, ours):
            layer._flat_weights = [getattr(layer, n) for n in layer._flat_weights_names]
        assert_same(outcome(ours, x), before, 0)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_weights_may_be_dropped_at_each_call(self, family):
        theirs, ours = (WeightDrop(m) for m in pair(family, 3, 5, dtype=torch.float64))
        x = draw(6, 4, 3)
        for seed in (3, 4):
            actual, expected = (outcome(m, x, seed=seed) for m in (ours, theirs))
            assert_same(actual, expected, 1e-10)
            assert (actual["gradient of raw"] == 0).any()
        ours.eval()
        theirs.eval()
        assert_same(outcome(ours, x), outcome(theirs, x), 1e-10)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_weights_may_be_pruned(self, family):
        theirs, ours = pair(family, 3, 5, dtype=torch.float64)
        x = draw(6, 4, 3)
        ours(x)
        for layer in (theirs, ours):
            torch.manual_seed(8)
            prune.random_unstructured(layer, "weight_hh_l0", amount=0.4)
        for _ in range(2):  # the mask meets new weights at each call
            actual, expected = outcome(ours, x), outcome(theirs, x)
            assert_same(actual, expected, 1e-10)
            assert (actual["gradient of weight_hh_l0_orig"] == 0).any()
            with torch.no_grad():
                for layer in (theirs, ours):
                    layer.weight_hh_l0_orig.mul_(1.5)
        for layer in (theirs, ours):
            prune.remove(layer, "weight_hh_l0")
        assert_same(outcome(ours, x), outcome(theirs, x), 1e-10)

    @pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0"])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_weights_of_another_shape_are_refused(self, family, name):
        layer = getattr(saiki.nn, family)(3, 5)
        x = draw(6, 4, 3, dtype=torch.float32)
        layer(x)
        rows, columns = getattr(layer, name).shape
        for shape in ((rows, columns - 1), (rows, columns + 1), (rows - 1, columns)):
            setattr(layer, name, torch.nn.Parameter(torch.zeros(shape)))
            with pytest.raises(InputError, match=rf"^layer 0 of {family}\(3, 5\) takes weights"):
                layer(x)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_frozen_weights_get_no_gradient(self, family):
        theirs, ours = pair(family, 3, 5, dtype=torch.float64)
        for layer in (theirs, ours):
            layer.weight_hh_l0.requires_grad_(False)
            layer.bias_ih_l0.requires_grad_(False)
        x = draw(6, 4, 3)
        actual, expected = outcome(ours, x), outcome(theirs, x)
        assert "gradient of weight_hh_l0" not in actual
        assert_same(actual, expected, 1e-10)

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_computes_the_same_where_no_gradient_is_wanted(self, family, mode):
        layer = getattr(saiki.nn, family)(3, 5)
        x = draw(6, 4, 3, dtype=torch.float32)
        expected, _ = layer(x)
        with mode():
            y, _ = layer(x)
        assert not y.requires_grad
        torch.testing.assert_close(y, expected.detach())

    def test_the_backend_may_be_changed_afterwards(self):
        layer = saiki.nn.GRU(3, 5)
        x = draw(6, 4, 3, dtype=torch.float32)
        layer(x)
        layer.backend = "eager"
        assert "Scan" not in names_of(layer(x)[0])
        layer.backend = "cpu"
        assert "Scan" in names_of(layer(x)[0])


class WeightDrop(torch.nn.Module):
    """As in fastai's AWD-LSTM: the weight is no parameter any more, and set before each call."""

    def __init__(self, layer):
        super().__init__()
        self.raw = torch.nn.Parameter(layer.weight_hh_l0.detach().clone())
        del layer.weight_hh_l0
        layer.weight_hh_l0 = self.raw.clone()
        self.layer = layer

    def forward(self, x):
        self.layer.weight_hh_l0 = torch.nn.functional.dropout(self.raw, 0.4, self.training)
        return self.layer(x)


class TestTorchsOwn:
    """Where there is no kernel of ours, a layer without options runs on those of torch.nn."""

    @pytest.mark.parametrize("family", FAMILIES)
    def test_in_half_precision(self, family):
        theirs, ours = pair(family, 3, 5, dtype=torch.bfloat16)
        x = draw(6, 4, 3, dtype=torch.bfloat16)
        torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_under_autocast(self, family):
        theirs, ours = pair(family, 3, 5)
        x = draw(6, 4, 3, dtype=torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=0)

    @pytest.mark.parametrize("family", FAMILIES)
    def test_under_transforms_of_torch_func(self, family):
        theirs, ours = pair(family, 3, 5)
        x, weights = draw(6, 4, 3, dtype=torch.float32), dict(ours.named_parameters())

        def gradients(layer):
            def loss(weights):
                return torch.func.functional_call(layer, weights, (x,))[0].sum()

            return torch.func.grad(loss)(weights)

        torch.testing.assert_close(gradients(ours), gradients(theirs), rtol=0, atol=0)
        mapped = [
            failure(lambda m=m: torch.vmap(lambda x: m(x)[0])(x[None]))  # torch.nn has no rule
            for m in (ours, theirs)
        ]
        assert mapped[0] == mapped[1]

    @pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
    @pytest.mark.parametrize("family", ["RNN", "GRU"])  # LSTM has no rule in torch.nn
    @pytest.mark.parametrize("dual", [False, True], ids=["jvp", "dual numbers"])
    def test_forward_mode(self, family, dual):
        def slope(layer):
            if not dual:
                return torch.func.jvp(lambda x: layer(x)[0], (x,), (d_x,))[1]
            with torch.autograd.forward_ad.dual_level():
                y, _ = layer(torch.autograd.forward_ad.make_dual(x, d_x))
                return torch.autograd.forward_ad.unpack_dual(y).tangent

        theirs, ours = pair(family, 3, 5)
        x, d_x = draw(2, 6, 4, 3, dtype=torch.float32)
        assert slope(ours).abs().max() > 0
        torch.testing.assert_close(slope(ours), slope(theirs), rtol=0, atol=0)


def zeros(*shape, dtype=torch.float32, device="cpu"):
    return torch.zeros(shape, dtype=dtype, device=device)


def begin(layer, *shape, **options):
    """A state of that shape; two for an LSTM."""
    state = zeros(*shape, **options)
    return (state, state) if isinstance(layer, torch.nn.LSTM) else state


def ragged(size=3, dtype=torch.float32, enforce_sorted=False):
    rows = [zeros(length, size, dtype=dtype) for length in (4, 2)]
    return pack_sequence(rows, enforce_sorted=enforce_sorted)


CALLS = {
    "one dimension": lambda m: m(zeros(3)),
    "four dimensions": lambda m: m(zeros(1, 2, 3, 4)),
    "too many features": lambda m: m(zeros(6, 4, 4)),
    "too few features, unbatched": lambda m: m(zeros(6, 2)),
    "no steps": lambda m: m(zeros(0, 4, 3)),
    "double": lambda m: m(zeros(6, 4, 3, dtype=torch.float64)),
    "half": lambda m: m(zeros(6, 4, 3, dtype=torch.float16)),
    "whole numbers": lambda m: m(zeros(6, 4, 3, dtype=torch.int64)),
    "a list": lambda m: m([zeros(6, 4, 3)]),
    "nothing": lambda m: m(None),
    "another device": lambda m: m(zeros(6, 4, 3, device="meta")),
    "2-D states of a batch": lambda m: m(zeros(6, 4, 3), begin(m, 4, 5)),
    "3-D states without a batch": lambda m: m(zeros(6, 3), begin(m, 1, 4, 5)),
    "states of another batch": lambda m: m(zeros(6, 4, 3), begin(m, 1, 3, 5)),
    "states of another size": lambda m: m(zeros(6, 4, 3), begin(m, 1, 4, 6)),
    "states of another size, unbatched": lambda m: m(zeros(6, 3), begin(m, 1, 6)),
    "states of more layers": lambda m: m(zeros(6, 4, 3), begin(m, 2, 4, 5)),
    "states in double": lambda m: m(zeros(6, 4, 3), begin(m, 1, 4, 5, dtype=torch.float64)),
    "states elsewhere": lambda m: m(zeros(6, 4, 3), begin(m, 1, 4, 5, device="meta")),
    "three states": lambda m: m(zeros(6, 4, 3), (zeros(1, 4, 5),) * 3),
    "one state in a tuple": lambda m: m(zeros(6, 4, 3), (zeros(1, 4, 5),)),
    "packed states in double": lambda m: m(ragged(), begin(m, 1, 2, 5, dtype=torch.float64)),
    "packed double": lambda m: m(ragged(dtype=torch.float64)),
    "packed, one-dimensional states": lambda m: m(ragged(), begin(m, 5)),
}
PACKED_CALLS = {
    "too many features": lambda m: m(ragged(4)),
    "states of another batch": lambda m: m(ragged(enforce_sorted=True), begin(m, 1, 3, 5)),
    "states of another size": lambda m: m(ragged(), begin(m, 1, 2, 6)),
}


class TestErrors:
    @pytest.mark.parametrize("call", CALLS)
    @pytest.mark.parametrize("family", FAMILIES)
    def test_are_those_of_torch(self, family, call):
        theirs, ours = pair(family, 3, 5)
        expected = failure(lambda: CALLS[call](theirs))
        assert expected is not None
        assert failure(lambda: CALLS[call](ours)) == expected

    @pytest.mark.parametrize("call", PACKED_CALLS)
    @pytest.mark.parametrize("family", FAMILIES)
    def test_of_packed_input_are_in_words_for_lstm_too(self, family, call):
        theirs, ours = pair(family, 3, 5)
        kind, message = failure(lambda: PACKED_CALLS[call](ours))
        if family != "LSTM":  # torch.nn checks nothing there, and a product fails somewhere
            assert (kind, message) == failure(lambda: PACKED_CALLS[call](theirs))
        assert kind is RuntimeError
        assert "xpected" in message

    @pytest.mark.parametrize(
        "call",
        [
            lambda m: m(zeros(6, 4, 3), (zeros(1, 4, 5), zeros(4, 5))),
            lambda m: m(zeros(6, 4, 3), (zeros(1, 4, 5), zeros(1, 4, 6))),
            lambda m: m(zeros(6, 4, 3), (zeros(1, 4, 5), zeros(1, 4, 5, dtype=torch.float64))),
            lambda m: m(zeros(6, 4, 3), zeros(2, 1, 4, 5)),
            lambda m: m(zeros(6, 4, 3), zeros(1, 4, 5)),
        ],
        ids=["dimensions", "sizes", "types", "one tensor", "one state"],
    )
    def test_of_two_states_that_do_not_fit_each_other(self, call):
        theirs, ours = pair("LSTM", 3, 5)
        expected = failure(lambda: call(theirs))
        assert expected is not None
        assert failure(lambda: call(ours)) == expected

    @pytest.mark.parametrize(
        ("args", "arguments"),
        [
            ((), {}),
            ((3,), {}),
            ((3, 0), {}),
            ((0, 5), {}),
            ((3, 5.0), {}),
            ((3.0, 5), {}),
            ((3, 5, 0), {}),
            ((3, 5), {"dropout": 2}),
            ((3, 5), {"dropout": True}),
            ((3, 5), {"bias": 1}),
            ((3, 5), {"batch_first": 1}),
            ((3, 5), {"proj_size": 5}),
            ((3, 5), {"proj_size": -1}),
            ((3, 5), {"gates": 4}),
            ((3, 5), {"nonlinearity": "sin"}),
            ((3, 5), {"dtype": torch.int64}),
        ],
    )
    @pytest.mark.parametrize("family", FAMILIES)
    def test_of_arguments_are_those_of_torch(self, family, args, arguments):
        expected = failure(lambda: getattr(torch.nn, family)(*args, **arguments))
        assert expected is not None
        assert failure(lambda: getattr(saiki.nn, family)(*args, **arguments)) == expected

    def test_dropout_after_the_only_layer_is_warned_of(self):
        with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
            saiki.nn.LSTM(3, 5, dropout=0.5)

"""RNNCell, LSTMCell and GRUCell beside those of torch.nn, and beside a step of our layers."""

import copy
import pickle

import pytest
import torch

import saiki.nn
from compiler.comparison import assert_same
from nn.pairs import failure, outcome, pair
from saiki import InputError

PLAIN = {
    "RNNCell tanh": ("RNNCell", {}),
    "RNNCell relu": ("RNNCell", {"nonlinearity": "relu"}),
    "LSTMCell": ("LSTMCell", {}),
    "GRUCell": ("GRUCell", {}),
}
OPTIONS = {
    "RNNCell softplus": ("RNNCell", {"activation": "softplus"}),
    "LSTMCell peephole": ("LSTMCell", {"peephole": True}),
    "LSTMCell coupled": ("LSTMCell", {"coupled": True, "bias": False}),
    "LSTMCell without gates": (
        "LSTMCell",
        {"input_gate": False, "forget_gate": False, "output_gate": False},
    ),
    "LSTMCell unsquashed": ("LSTMCell", {"input_activation": False, "output_activation": False}),
    "LSTMCell layer norm": ("LSTMCell", {"layer_norm": True, "activation": "relu"}),
    "GRUCell before": ("GRUCell", {"reset": "before"}),
    "GRUCell hard": ("GRUCell", {"recurrent_activation": "hard_sigmoid", "activation": "relu"}),
}


def draw(*shape, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype)


def begin(cell, *shape, **options):
    state = draw(*shape, **options)
    return (state, draw(*shape, **options)) if isinstance(cell, torch.nn.LSTMCell) else state


def optioned(name):
    family, options = OPTIONS[name]
    cell = getattr(saiki.nn, family)(3, 5, dtype=torch.float64, **options)
    for p_name, p in cell.named_parameters():
        torch.nn.init.normal_(p, float("norm" in p_name and "weight" in p_name), 0.4)
    return cell


class TestPlain:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize("name", PLAIN)
    def test_computes_what_torch_computes(self, name, bias, dtype):
        family, arguments = PLAIN[name]
        theirs, ours = pair(family, 3, 5, bias=bias, dtype=dtype, **arguments)
        for batch in ((), (4,)):
            x = draw(*batch, 3, dtype=dtype)
            for hx in (None, begin(theirs, *batch, 5, dtype=dtype)):
                assert_same(outcome(ours, x, hx), outcome(theirs, x, hx), 1e-10)

    @pytest.mark.parametrize("name", PLAIN)
    def test_is_the_module_of_torch(self, name):
        family, arguments = PLAIN[name]
        both = []
        for library in (torch.nn, saiki.nn):
            torch.manual_seed(4)
            both.append(getattr(library, family)(3, 5, **arguments))
        theirs, ours = both
        assert repr(ours) == repr(theirs)
        assert isinstance(ours, type(theirs))
        assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b)
        theirs.load_state_dict(ours.state_dict(), strict=True)

    @pytest.mark.parametrize(
        "call",
        [
            lambda m: m(torch.zeros(2, 4, 3)),
            lambda m: m(torch.zeros(4, 2)),
            lambda m: m(torch.zeros(4, 3, dtype=torch.float64)),
            lambda m: m(torch.zeros(4, 3), begin(m, 3, 5, dtype=torch.float32)),
            lambda m: m(torch.zeros(4, 3), begin(m, 4, 6, dtype=torch.float32)),
            lambda m: m(torch.zeros(4, 3), begin(m, 1, 4, 5, dtype=torch.float32)),
            lambda m: m(torch.zeros(4, 3), begin(m, 4, 5)),
            lambda m: m([torch.zeros(4, 3)]),
            lambda m: type(m)(3),
            lambda m: type(m)(3, 5, gates=4),
            lambda m: type(m)(3, 5.0),
        ],
        ids=[
            "3-D", "features", "double", "batch", "size", "3-D state", "double state", "list",
            "no size", "unknown argument", "broken size",
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("family", ["RNNCell", "LSTMCell", "GRUCell"])
    def test_errors_are_those_of_torch(self, family, call):
        theirs, ours = pair(family, 3, 5)
        expected = failure(lambda: call(theirs))
        assert expected is not None
        assert failure(lambda: call(ours)) == expected


class TestOptions:
    @pytest.mark.parametrize("name", OPTIONS)
    def test_is_one_step_of_the_layer_with_the_same_weights(self, name):
        family, options = OPTIONS[name]
        cell = optioned(name)
        layer = getattr(saiki.nn, family.removesuffix("Cell"))
        layer = layer(3, 5, backend="eager", dtype=torch.float64, **options)
        names = {name for name, _ in cell.named_parameters()}
        weights = {f"{k}_l0": v for k, v in cell.state_dict().items()}
        layer.load_state_dict(weights, strict=True)
        for batch in ((), (4,)):
            x = draw(*batch, 3)
            for hx in (None, begin(cell, *batch, 5)):
                above = hx if hx is None else torch.utils._pytree.tree_map(lambda s: s[None], hx)
                actual, expected = outcome(cell, x, hx), outcome(Step(layer), x[None], above)
                expected = {
                    k.replace("layer.", "").removesuffix("_l0"): v for k, v in expected.items()
                }
                for key, value in actual.items():
                    of_parameter = key.removeprefix("gradient of ") in names
                    other = expected[key] if of_parameter else expected[key][0]  # the only step
                    torch.testing.assert_close(value, other)

    @pytest.mark.parametrize("name", OPTIONS)
    def test_gradients_agree_with_finite_differences(self, name):
        cell = optioned(name)
        names = [n for n, _ in cell.named_parameters()]

        def run(x, *rest):
            hx = rest[: len(starts)] if len(starts) > 1 else rest[0]
            weights = dict(zip(names, rest[len(starts) :], strict=True))
            return torch.func.functional_call(cell, weights, (x, hx))

        starts = begin(cell, 2, 5)
        starts = starts if isinstance(starts, tuple) else (starts,)
        wanted = [draw(2, 3), *starts, *cell.parameters()]
        wanted = [t.detach().clone().requires_grad_() for t in wanted]
        assert torch.autograd.gradcheck(run, wanted, fast_mode=True)

    def test_initial_weights_are_those_of_torch_where_shapes_are(self):
        both = []
        for library, more in ((torch.nn, {}), (saiki.nn, {"reset": "before"})):
            torch.manual_seed(4)
            both.append(library.GRUCell(3, 5, **more).state_dict())
        assert all(torch.equal(both[0][name], p) for name, p in both[1].items())
        norms = saiki.nn.LSTMCell(3, 25, layer_norm=True, peephole=True)
        for name, p in norms.named_parameters():
            if name.startswith("norm"):
                assert (p == ("weight" in name)).all()
            else:
                assert 0 < p.abs().max() <= 0.2  # 1/√25

    def test_its_options_show(self):
        cell = saiki.nn.LSTMCell(3, 5, bias=False, peephole=True, coupled=True)
        assert repr(cell) == "LSTMCell(3, 5, bias=False, peephole=True, coupled=True)"

    @pytest.mark.parametrize("name", OPTIONS)
    @pytest.mark.parametrize(
        "twin_of",
        [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
        ids=["deep copy", "pickle"],
    )
    def test_a_copy_computes_the_same_with_weights_of_its_own(self, name, twin_of):
        cell, x = optioned(name), draw(4, 3)
        expected = outcome(cell, x)
        twin = twin_of(cell)
        with torch.no_grad():
            for p in cell.parameters():
                p.zero_()
        assert_same(outcome(twin, x), expected, 0)

    @pytest.mark.parametrize("name", ["RNNCell softplus", "LSTMCell layer norm"])
    def test_autocast_changes_nothing_but_the_type_of_x(self, name):
        cell, x = optioned(name).float(), draw(4, 3, dtype=torch.bfloat16)
        hx = begin(cell, 4, 5, dtype=torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            actual = cell(x, hx)
        torch.testing.assert_close(actual, cell(x.float(), hx), rtol=0, atol=0)

    def test_transforms_of_torch_func(self):
        cell, x = optioned("LSTMCell layer norm"), draw(7, 4, 3)
        mapped = torch.vmap(lambda x: cell(x)[0])(x)
        torch.testing.assert_close(mapped, torch.stack([cell(row)[0] for row in x]))

    @pytest.mark.parametrize(
        "call",
        [
            lambda m: m(torch.zeros(())),
            lambda m: m(torch.zeros(2, 4, 3)),
            lambda m: m(torch.zeros(4, 2)),
            lambda m: m(torch.zeros(4, 3), (torch.zeros(3, 5),) * 2),
            lambda m: m(torch.zeros(4, 3), (torch.zeros(4, 6),) * 2),
            lambda m: m(torch.zeros(3), (torch.zeros(4, 5),) * 2),
            lambda m: m(torch.zeros(4, 3), (torch.zeros(5),) * 2),
            lambda m: m(torch.zeros(4, 3), (torch.zeros(4, 5),)),
            lambda m: m(torch.zeros(4, 3), (torch.zeros(4, 5),) * 3),
            lambda m: m(torch.zeros(4, 3), (torch.zeros(()),) * 2),
        ],
        ids=[
            "0-D", "3-D", "features", "batch", "size", "batched state", "state without batch",
            "one state", "three states", "0-D states",
        ],
    )  # fmt: skip
    def test_errors_say_what_fits(self, call):
        with pytest.raises(RuntimeError, match=r"^LSTMCell takes \(batch, 3\) or \(3,\) and 2 st"):
            call(saiki.nn.LSTMCell(3, 5, peephole=True))

    def test_invalid_options(self):
        for build, sentence in (
            (lambda: saiki.nn.RNNCell(3, 5, activation="sine"), "no activation 'sine'"),
            (lambda: saiki.nn.GRUCell(3, 5, reset="never"), "reset must be 'after' or 'before'"),
            (lambda: saiki.nn.LSTMCell(3, 5, coupled=True, input_gate=False), "coupled gates"),
            (lambda: saiki.nn.GRUCell(3, 5, activation=torch.nn.PReLU()), "activation is PReLU"),
        ):
            with pytest.raises(InputError, match=f"^{sentence}"):
                build()


class Step(torch.nn.Module):
    """A layer over a single step that returns the states alone, as a cell does."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, hx=None):
        return self.layer(x, hx)[1]

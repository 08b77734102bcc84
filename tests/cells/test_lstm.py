import itertools

import numpy as np
import pytest
import torch

import oracles
from saiki import InputError, Recurrent
from saiki.cells import LSTM

pytestmark = pytest.mark.one_in(2)

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}

# The gates that have weights, and the switches of the cell.
GREFF = {
    "plain": ("ifgo", {}),
    "NIG": ("fgo", {"input_gate": False}),
    "NFG": ("igo", {"forget_gate": False}),
    "NOG": ("ifg", {"output_gate": False}),
    "NIAF": ("ifgo", {"input_activation": False}),
    "NOAF": ("ifgo", {"output_activation": False}),
    "CIFG": ("igo", {"coupled": True}),
}
ADDITIONS = {
    "nothing": {},
    "peepholes": {"peephole": True},
    "layer norm": {"layer_norm": True},
    "projection": {"projection_size": 2},
    "everything": {"peephole": True, "layer_norm": True, "projection_size": 2},
}


def randomised(module):
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return module


def blocks(parameter, gates):
    return dict(zip(gates, np.split(parameter.detach().numpy(), len(gates)), strict=True))


def assert_agrees_with_numpy(gates, f=np.tanh, sigma=oracles.sigmoid, **arguments):
    """Compare LSTM(3, 5, **arguments), which has weights for ``gates``, with the oracle: NumPy
    judges the equations, and the eager loop what is compiled of them, in ``tests/compiler``."""
    layer = randomised(Recurrent(LSTM(3, 5, **arguments), backend="eager").double())
    cell, on = layer.cell, {"bias": True, **arguments}.get
    x = torch.randn(2, 4, 3, dtype=torch.float64)
    h = torch.randn(2, on("projection_size") or 5, dtype=torch.float64)
    c = torch.randn(2, 5, dtype=torch.float64)
    with torch.no_grad():
        y, (_, last_c) = layer(x, (h, c))

    def values(parameter):
        return parameter.detach().numpy()

    norms = (cell.norm_x, cell.norm_h, cell.norm_c) if on("layer_norm") else ()
    for i in range(2):
        expected_y, expected_c = oracles.lstm(
            x[i].numpy(),
            h[i].numpy(),
            c[i].numpy(),
            W=blocks(cell.W.weight, gates),
            U=blocks(cell.U.weight, gates),
            b=blocks(cell.b, gates) if on("bias") else None,
            p=dict(zip(gates.replace("g", ""), values(cell.p), strict=True))
            if on("peephole")
            else None,
            P=values(cell.P.weight) if on("projection_size") else None,
            norms=[(values(norm.weight), values(norm.bias)) for norm in norms],
            coupled=on("coupled", False),
            squash_input=on("input_activation", True),
            squash_output=on("output_activation", True),
            f=f,
            sigma=sigma,
        )
        np.testing.assert_allclose(y[i].numpy(), expected_y, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(last_c[i].numpy(), expected_c, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("addition", ADDITIONS)
@pytest.mark.parametrize("variant", GREFF)
def test_each_variant_of_the_search_space_odyssey_agrees_with_numpy(variant, addition, bias):
    gates, switches = GREFF[variant]
    assert_agrees_with_numpy(gates, bias=bias, **switches, **ADDITIONS[addition])


@pytest.mark.parametrize("squashed", list(itertools.product([True, False], repeat=2)))
@pytest.mark.parametrize("gates", ["ifg", "igo", "fgo", "ig", "fg", "go", "g"])
def test_switches_combine_freely(gates, squashed):
    names = {"input_gate": "i", "forget_gate": "f", "output_gate": "o"}
    assert_agrees_with_numpy(
        gates,
        **{name: gate in gates for name, gate in names.items()},
        **dict(zip(("input_activation", "output_activation"), squashed, strict=True)),
        peephole=True,
    )


def test_gates_and_states_take_the_activations_they_are_given():
    assert_agrees_with_numpy(
        "ifgo",
        f=oracles.relu,
        sigma=lambda u: np.clip(u / 6 + 0.5, 0, 1),
        activation="relu",
        recurrent_activation="hard_sigmoid",
        peephole=True,
    )


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("projection", [None, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_agrees_with_torch_in_outputs_last_states_and_every_gradient(bias, projection, dtype):
    layer = randomised(Recurrent(LSTM(3, 5, bias=bias, projection_size=projection)).to(dtype))
    cell = layer.cell
    theirs = torch.nn.LSTM(3, 5, bias=bias, proj_size=projection or 0, batch_first=True).to(dtype)
    pairs = [("weight_ih_l0", cell.W.weight), ("weight_hh_l0", cell.U.weight)]
    if projection:
        pairs.append(("weight_hr_l0", cell.P.weight))
    with torch.no_grad():
        for name, ours in pairs:
            getattr(theirs, name).copy_(ours)
        if bias:
            pairs.append(("bias_hh_l0", cell.b))
            torch.nn.init.normal_(theirs.bias_hh_l0)
            theirs.bias_ih_l0.copy_(cell.b - theirs.bias_hh_l0)
    x = torch.randn(4, 7, 3, dtype=dtype, requires_grad=True)
    start = [torch.randn(4, s, dtype=dtype, requires_grad=True) for s in (projection or 5, 5)]
    weights = [torch.randn(4, 7, projection or 5, dtype=dtype), *map(torch.randn_like, start)]

    def run(y, h, c, parameters):
        loss = sum((w * out).sum() for w, out in zip(weights, (y, h, c), strict=True))
        return [y, h, c, *torch.autograd.grad(loss, [x, *start, *parameters])]

    y, (h, c) = layer(x, tuple(start))
    ours = run(y, h, c, [p for _, p in pairs])
    y, (h, c) = theirs(x, tuple(s[None] for s in start))
    expected = run(y, h[0], c[0], [getattr(theirs, name) for name, _ in pairs])
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def initial_biases(gates="ifgo", **arguments):
    return blocks(LSTM(3, 150, **arguments).b, gates)


def test_forget_bias_starts_the_forget_gate_alone():
    b = initial_biases(forget_bias=1.5)
    assert (b["f"] == 1.5).all()
    assert not any(b[k].any() for k in "igo")


def test_forget_bias_is_one_unless_told():
    assert (initial_biases()["f"] == 1).all()


def test_forget_bias_of_coupled_gates_opens_f_by_closing_i():
    b = initial_biases("igo", coupled=True, forget_bias=1.5)
    assert (b["i"] == -1.5).all()
    assert not any(b[k].any() for k in "go")


def test_chrono_forget_times_are_uniform_from_1_to_the_longest_less_1():
    u = np.exp(initial_biases(chrono=101)["f"])
    assert 1 <= u.min() < 5
    assert 96 < u.max() <= 100
    assert u.mean() == pytest.approx(50.5, abs=7)  # its standard error is 99 / √(12 · 150) = 2.3
    assert u.std() == pytest.approx(99 / 12**0.5, rel=0.1)


def test_chrono_input_gate_mirrors_the_forget_gate_and_the_rest_is_zero():
    b = initial_biases(chrono=101)
    np.testing.assert_array_equal(b["i"], -b["f"])
    assert not any(b[k].any() for k in "go")


def test_chrono_of_coupled_gates_gives_f_the_same_forget_times():
    u = np.exp(-initial_biases("igo", chrono=101, coupled=True)["i"])  # f = 1 − σ(b) = σ(−b)
    assert 1 <= u.min() < 5
    assert 96 < u.max() <= 100
    assert u.mean() == pytest.approx(50.5, abs=7)


def test_recurrent_weights_start_orthogonal_and_peepholes_at_zero():
    cell = LSTM(3, 7, peephole=True)
    for block in blocks(cell.U.weight, "ifgo").values():
        np.testing.assert_allclose(block @ block.T, np.eye(7), atol=1e-5)
    assert cell.p.abs().max() == 0


def test_input_weights_start_within_the_xavier_bound_of_one_gate():
    bound = (6 / (30 + 50)) ** 0.5
    for block in blocks(LSTM(30, 50).W.weight, "ifgo").values():
        # the maximum of 1500 draws falls short of the bound by far less than 2 percent
        assert 0.98 * bound < np.abs(block).max() <= bound


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"coupled": True, "input_gate": False}, "leave input_gate and forget_gate on"),
        ({"coupled": True, "forget_gate": False}, "leave input_gate and forget_gate on"),
        ({"chrono": 2}, "at least 3 steps"),
        ({"chrono": 20, "bias": False}, "chrono needs a bias"),
        ({"chrono": 20, "forget_gate": False}, "chrono needs a bias, both gates"),
        ({"chrono": 20, "input_gate": False}, "chrono needs a bias, both gates"),
        ({"projection_size": 0}, "projection_size must be at least 1, got 0"),
        ({"activation": "tahn"}, "no activation 'tahn'"),
        ({"recurrent_activation": "sigmoyd"}, "no activation 'sigmoyd'"),
    ],
)
def test_arguments_that_cannot_be_served_are_refused(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        LSTM(3, 5, **arguments)

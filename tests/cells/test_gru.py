import numpy as np
import pytest
import torch

import oracles
from saiki import InputError, Recurrent
from saiki.cells import GRU

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}


def randomised(module):
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return module


def blocks(parameter):
    return dict(zip("rzn", np.split(parameter.detach().numpy(), 3), strict=True))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize(
    ("names", "functions"),
    [
        ({}, {}),
        (
            {"activation": "relu", "recurrent_activation": "hard_sigmoid"},
            {"f": oracles.relu, "sigma": lambda u: np.clip(u / 6 + 0.5, 0, 1)},
        ),
    ],
    ids=["tanh", "relu and hard sigmoid"],
)
def test_agrees_with_numpy(names, functions, reset, bias):
    layer = randomised(Recurrent(GRU(3, 5, reset, bias=bias, **names), backend="eager").double())
    cell = layer.cell
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    start = torch.randn(2, 5, dtype=torch.float64)
    weights = {
        "W": blocks(cell.W.weight),
        "U": blocks(cell.U.weight),
        "b": blocks(cell.W.bias) if bias else dict.fromkeys("rzn", 0.0),
        "b_after": cell.b.detach().numpy() if bias and reset == "after" else 0.0,
    }
    with torch.no_grad():
        y, _ = layer(x, start)
    for i in range(2):
        row = oracles.gru(x[i].numpy(), start[i].numpy(), **weights, reset=reset, **functions)
        np.testing.assert_allclose(y[i].numpy(), row, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bias", [True, False])
def test_reset_after_agrees_with_torch_in_outputs_last_state_and_every_gradient(bias, dtype):
    layer = randomised(Recurrent(GRU(3, 5, bias=bias)).to(dtype))
    cell = layer.cell
    torch_gru = torch.nn.GRU(3, 5, bias=bias, batch_first=True).to(dtype)
    with torch.no_grad():
        torch_gru.weight_ih_l0.copy_(cell.W.weight)
        torch_gru.weight_hh_l0.copy_(cell.U.weight)
        if bias:
            # The two biases of r and z add up, those of n do not.
            torch.nn.init.normal_(torch_gru.bias_hh_l0)
            torch_gru.bias_hh_l0[10:].copy_(cell.b)
            torch_gru.bias_ih_l0.copy_(cell.W.bias)
            torch_gru.bias_ih_l0[:10] -= torch_gru.bias_hh_l0[:10]
    x = torch.randn(4, 7, 3, dtype=dtype, requires_grad=True)
    start = torch.randn(4, 5, dtype=dtype, requires_grad=True)
    of_y, of_h = torch.randn(4, 7, 5, dtype=dtype), torch.randn(4, 5, dtype=dtype)

    def run(y, h, parameters):
        loss = (of_y * y).sum() + (of_h * h).sum()
        return [y, h, *torch.autograd.grad(loss, [x, start, *parameters])]

    parameters = [cell.W.weight, cell.U.weight, *([cell.W.bias, cell.b] if bias else [])]
    ours = run(*layer(x, start), parameters)
    y, h = torch_gru(x, start[None])
    theirs = run(y, h[0], list(torch_gru.parameters()))
    of_b = [(ours.pop(), theirs.pop()[10:])] if bias else []
    for a, b in [*zip(ours, theirs, strict=True), *of_b]:
        torch.testing.assert_close(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_the_update_gate_at_one_keeps_the_old_state():
    layer = randomised(Recurrent(GRU(3, 5)))
    with torch.no_grad():
        layer.cell.W.bias[5:10] = 1000.0
    start = torch.randn(2, 5)
    y, _ = layer(torch.randn(2, 7, 3), start)
    torch.testing.assert_close(y, start[:, None].expand(2, 7, 5), rtol=0, atol=0)


def test_starts_with_orthogonal_recurrence_xavier_input_and_no_biases_gate_by_gate():
    cell = GRU(30, 50)
    bound = (6 / (30 + 50)) ** 0.5
    for k in "rzn":
        U = blocks(cell.U.weight)[k]
        np.testing.assert_allclose(U @ U.T, np.eye(50), atol=1e-5)
        # the maximum of 1500 draws falls short of the bound by far less than 2 percent
        assert 0.98 * bound < np.abs(blocks(cell.W.weight)[k]).max() <= bound
    assert cell.W.bias.abs().max() == cell.b.abs().max() == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"reset": "behind"}, "reset must be 'after' or 'before', got 'behind'"),
        ({"activation": "tahn"}, "no activation 'tahn'"),
        ({"recurrent_activation": "sigmoyd"}, "no activation 'sigmoyd'"),
    ],
)
def test_arguments_that_cannot_be_served_are_refused(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        GRU(3, 5, **arguments)

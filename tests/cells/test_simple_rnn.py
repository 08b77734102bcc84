import numpy as np
import pytest
import torch

import oracles
from saiki import InputError, Recurrent
from saiki.cells import SimpleRNN

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-12}


def randomised(module):
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return module


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu"])
def test_gradients_are_those_of_backpropagation_through_time_by_hand(activation, batch):
    layer = randomised(Recurrent(SimpleRNN(3, 5, activation), backend="eager").double())
    readout = randomised(torch.nn.Linear(5, 2).double())
    x = torch.randn(batch, 7, 3, dtype=torch.float64)
    target = torch.rand(batch, 7, 2, dtype=torch.float64)
    start = torch.randn(batch, 5, dtype=torch.float64)

    y = torch.sigmoid(readout(layer(x, start)[0]))
    (0.5 * (y - target) ** 2).sum().backward()

    parameters = {
        "W_in": layer.cell.W.weight,
        "W": layer.cell.U.weight,
        "b": layer.cell.W.bias,
        "W_out": readout.weight,
        "c": readout.bias,
    }
    weights = {name: p.detach().numpy() for name, p in parameters.items()}
    by_hand = [
        oracles.simple_rnn_gradients(*row, **weights, activation=activation)
        for row in zip(x.numpy(), target.numpy(), start.numpy(), strict=True)
    ]
    for name, p in parameters.items():
        expected = sum(row[name] for row in by_hand)
        np.testing.assert_allclose(p.grad.numpy(), expected, rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_agrees_with_torch_in_outputs_last_state_and_every_gradient(activation, bias, dtype):
    layer = randomised(Recurrent(SimpleRNN(3, 5, activation, bias=bias)).to(dtype))
    torch_rnn = torch.nn.RNN(3, 5, nonlinearity=activation, bias=bias, batch_first=True).to(dtype)
    cell = layer.cell
    with torch.no_grad():
        torch_rnn.weight_ih_l0.copy_(cell.W.weight)
        torch_rnn.weight_hh_l0.copy_(cell.U.weight)
        if bias:
            torch.nn.init.normal_(torch_rnn.bias_hh_l0)
            torch_rnn.bias_ih_l0.copy_(cell.W.bias - torch_rnn.bias_hh_l0)
    x = torch.randn(4, 7, 3, dtype=dtype, requires_grad=True)
    start = torch.randn(4, 5, dtype=dtype, requires_grad=True)
    of_y, of_h = torch.randn(4, 7, 5, dtype=dtype), torch.randn(4, 5, dtype=dtype)

    def run(y, h, parameters):
        loss = (of_y * y).sum() + (of_h * h).sum()
        return [y, h, *torch.autograd.grad(loss, [x, start, *parameters])]

    ours = run(*layer(x, start), [cell.W.weight, cell.U.weight, *([cell.W.bias] * bias)])
    y, h = torch_rnn(x, start[None])
    names = ["weight_ih_l0", "weight_hh_l0", *(["bias_hh_l0"] * bias)]
    theirs = run(y, h[0], [getattr(torch_rnn, name) for name in names])
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_softmax_as_activation_normalises_over_the_units():
    layer = randomised(Recurrent(SimpleRNN(3, 5, "softmax")).double())
    x, start = torch.randn(1, 7, 3, dtype=torch.float64), torch.randn(1, 5, dtype=torch.float64)
    cell = layer.cell
    W_in, W, b = (p.detach().numpy() for p in (cell.W.weight, cell.U.weight, cell.W.bias))

    def softmax(u):
        return np.exp(u) / np.exp(u).sum()

    _, z = oracles.simple_rnn(x[0].numpy(), start[0].numpy(), W_in, W, b, softmax)
    np.testing.assert_allclose(layer(x, start)[0][0].detach().numpy(), z[1:], rtol=1e-12)


def test_any_callable_serves_as_activation():
    layer = randomised(Recurrent(SimpleRNN(3, 5, torch.sin)).double())
    x, start = torch.randn(1, 7, 3, dtype=torch.float64), torch.randn(1, 5, dtype=torch.float64)
    cell = layer.cell
    W_in, W, b = (p.detach().numpy() for p in (cell.W.weight, cell.U.weight, cell.W.bias))
    _, z = oracles.simple_rnn(x[0].numpy(), start[0].numpy(), W_in, W, b, np.sin)
    np.testing.assert_allclose(layer(x, start)[0][0].detach().numpy(), z[1:], rtol=1e-12)


def test_starts_with_orthogonal_recurrence_xavier_input_and_no_bias():
    cell = SimpleRNN(30, 50)
    U = cell.U.weight.detach().double().numpy()
    np.testing.assert_allclose(U @ U.T, np.eye(50), atol=1e-5)
    assert cell.W.weight.abs().max() <= (6 / 80) ** 0.5
    # U(−a, a) has the variance a² / 3; 1500 draws put the estimate within a few percent
    assert cell.W.weight.var().item() == pytest.approx(6 / 80 / 3, rel=0.1)
    assert cell.W.bias.abs().max() == 0


def test_unknown_activation_is_refused_with_the_names_there_are():
    with pytest.raises(InputError, match=r"no activation 'tahn'; there are .*sigmoid, tanh"):
        SimpleRNN(3, 5, "tahn")

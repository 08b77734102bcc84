"""From all steps to one vector: sums written as loops, rows alone, and the states of layers."""

import numpy as np
import pytest
import torch

from saiki import Bidirectional, Recurrent
from saiki.cells import GRU, LSTM
from saiki.errors import InputError
from saiki.nn.pooling import (
    AttentionPooling,
    JoinedPooling,
    LastPooling,
    MaxPooling,
    MeanPooling,
    make,
    real_steps,
)

LENGTHS = torch.tensor([3, 7, 1, 6])


def outputs(size=6, beyond=0.0):
    """Outputs as a layer gives them, with ``beyond`` where a row has no steps."""
    y = torch.randn(4, 7, size, dtype=torch.float64)
    return y.masked_fill(~real_steps(y, LENGTHS)[..., None], beyond)


def attention(size=6, hidden_size=5):
    pooling = AttentionPooling(size, hidden_size)
    for p in pooling.parameters():
        torch.nn.init.normal_(p)
    return pooling.double()


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def poolings():
    return {
        "attention": attention(),
        "mean": MeanPooling(),
        "max": MaxPooling(),
        "mean and max": JoinedPooling([MeanPooling(), MaxPooling()]),
        "last": LastPooling(False),
        "last of two directions": LastPooling(True),
    }


def test_the_real_steps_are_those_before_the_length():
    y = torch.zeros(4, 7, 2)
    want = [[t < length for t in range(7)] for length in (3, 7, 1, 6)]
    assert real_steps(y, LENGTHS).tolist() == want
    assert real_steps(y, None).tolist() == [[True] * 7] * 4


def test_the_weights_of_a_row_sum_to_1_and_padding_weighs_0():
    a = attention().weights(outputs(beyond=50.0), LENGTHS)
    close(a.sum(1), torch.ones(4, dtype=torch.float64))
    for row, length in zip(a, LENGTHS.tolist(), strict=True):
        assert row[:length].min() > 0
        assert row[length:].tolist() == [0] * (7 - length)


def test_attention_is_the_weighted_mean_of_its_equation():
    pooling, y = attention(), outputs()
    W, b, v = (p.detach().numpy() for p in (pooling.W.weight, pooling.W.bias, pooling.v.weight[0]))
    for row, length, u in zip(y.numpy(), LENGTHS.tolist(), pooling(y, LENGTHS), strict=True):
        steps = row[:length]
        scores = np.array([np.exp(v @ np.tanh(W @ step + b)) for step in steps])
        want = sum(a * step for a, step in zip(scores / scores.sum(), steps, strict=True))
        np.testing.assert_allclose(u.detach().numpy(), want, rtol=1e-11, atol=1e-13)


def test_the_mean_is_that_of_the_real_steps():
    y = outputs()
    want = torch.stack([row[:length].mean(0) for row, length in zip(y, LENGTHS, strict=True)])
    close(MeanPooling()(y, LENGTHS), want)
    close(MeanPooling()(y), y.mean(1))


def test_the_maximum_is_that_of_each_feature_over_the_real_steps():
    y = outputs(beyond=100.0)
    want = torch.stack([row[:length].amax(0) for row, length in zip(y, LENGTHS, strict=True)])
    close(MaxPooling()(y, LENGTHS), want)
    close(MaxPooling()(y), y.amax(1))


def test_several_poolings_are_side_by_side():
    y = outputs()
    made, size = make("last+max", 6, True)
    assert size == 12
    want = torch.cat((LastPooling(True)(y, LENGTHS), MaxPooling()(y, LENGTHS)), -1)
    close(made(y, LENGTHS), want)
    assert isinstance(make("mean", 6, True)[0], MeanPooling)
    with pytest.raises(InputError, match=r"one of attention, mean, max, last, or .*'mean.sum'"):
        make("mean+sum", 6, True)


@pytest.mark.parametrize("name", poolings())
def test_a_row_alone_is_the_row_in_a_ragged_batch(name):
    pooling, y = poolings()[name], outputs()
    together = pooling(y, LENGTHS)
    for i, length in enumerate(LENGTHS.tolist()):
        close(pooling(y[i : i + 1, :length])[0], together[i])
        close(pooling(y[i : i + 1], LENGTHS[i : i + 1])[0], together[i])


@pytest.mark.parametrize("name", poolings())
def test_what_the_padding_holds_does_not_matter(name):
    pooling = poolings()[name]
    y = outputs()
    rubbish = torch.where(real_steps(y, LENGTHS)[..., None], y, 1e6)
    close(pooling(rubbish, LENGTHS), pooling(y, LENGTHS))


@pytest.mark.parametrize("cell", [GRU, LSTM])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_the_last_outputs_are_the_final_states_of_the_layers(cell, lengths):
    x = torch.randn(4, 7, 3, dtype=torch.float64)

    def first(state):
        return state[0] if isinstance(state, tuple) else state

    one = Recurrent(cell(3, 5)).double()
    y, state = one(x, lengths=lengths)
    close(LastPooling(False)(y, lengths), first(state))
    two = Bidirectional(cell(3, 5)).double()
    y, (past, future) = two(x, lengths=lengths)
    close(LastPooling(True)(y, lengths), torch.cat((first(past), first(future)), -1))


@pytest.mark.parametrize("name", poolings())
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gradients_are_those_of_finite_differences(name, lengths):
    pooling = poolings()[name]
    y = torch.randn(4, 7, 6, dtype=torch.float64, requires_grad=True)  # no two maxima are the same
    parameters = tuple(pooling.parameters())
    assert torch.autograd.gradcheck(lambda y, *_: pooling(y, lengths), (y, *parameters))


@pytest.mark.parametrize("name", poolings())
def test_no_gradient_reaches_the_padding(name):
    pooling, y = poolings()[name], outputs().requires_grad_()
    pooling(y, LENGTHS).square().sum().backward()
    beyond = ~real_steps(y, LENGTHS)
    assert y.grad[beyond].abs().max() == 0
    assert y.grad[~beyond].abs().max() > 0

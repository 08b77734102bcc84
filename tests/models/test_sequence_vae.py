import math

import pytest
import torch
from torch import nn

import saiki
from saiki import Bidirectional, Recurrent, Stack
from saiki.cells import GRU, LSTM, SimpleRNN
from saiki.errors import InputError
from saiki.models.sequence_vae import SequenceVAE
from saiki.saving.pretrained import load

LENGTHS = torch.tensor([6, 3, 1, 5])


class Leaky(saiki.Cell):
    """h ← ½ h + ½ tanh(W x)"""

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        return 0.5 * h + 0.5 * torch.tanh(self.W(x))


MADE = {
    "vectors": lambda: SequenceVAE(GRU(3, 5), LSTM(5, 4), 2),
    "deep": lambda: SequenceVAE(
        Stack([Bidirectional(LSTM(3, 4)), Recurrent(SimpleRNN(8, 3))]),
        Stack([GRU(5, 4), LSTM(4, 3)]), 2,
    ),
    "tokens": lambda: SequenceVAE(Bidirectional(GRU(3, 4)), GRU(5, 6), 2, vocabulary=7),
    "mine": lambda: SequenceVAE(Leaky(3, 4), Leaky(5, 4), 2),
}  # fmt: skip


def made(name, seed=0):
    torch.manual_seed(seed)
    return MADE[name]().double().eval()


def sequences(model, seed=1):
    random = torch.Generator().manual_seed(seed)
    if model.embedding is not None:
        return torch.randint(7, (4, 6), generator=random)
    return torch.randn(4, 6, 3, generator=random, dtype=torch.float64)


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", MADE)
def test_what_a_step_says_follows_from_the_steps_before_and_the_code(name):
    model = made(name)
    x = sequences(model)
    z = torch.randn(4, 2, dtype=torch.float64, generator=noise())
    found = model.log_likelihood(x, z[None])[0]
    features = x if model.embedding is None else model.embedding(x)
    state, wanted = None, torch.zeros(4, dtype=torch.float64)
    for t in range(6):
        before = torch.zeros_like(features[:, :1]) if t == 0 else features[:, t - 1 : t]
        v, state = model._write(before, z, state)
        if model.embedding is None:
            says = torch.distributions.Normal(v[:, 0], model.log_deviation.exp())
            wanted += says.log_prob(x[:, t]).sum(1)
        else:
            wanted += torch.distributions.Categorical(logits=v[:, 0]).log_prob(x[:, t])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("name", MADE)
def test_a_ragged_row_counts_as_much_as_alone_and_padding_is_never_read(name):
    model = made(name)
    x = sequences(model)
    z = torch.randn(3, 4, 2, dtype=torch.float64, generator=noise())
    other = x.clone()
    for row, length in enumerate(LENGTHS):
        other[row, length:] = 0
    together = model.log_likelihood(x, z, LENGTHS)
    torch.testing.assert_close(model.log_likelihood(other, z, LENGTHS), together)
    for row, length in enumerate(LENGTHS.tolist()):
        one = x[row : row + 1, :length]
        torch.testing.assert_close(
            model.log_likelihood(one, z[:, row : row + 1])[:, 0], together[:, row]
        )
        torch.testing.assert_close(
            model.posterior(one).mean[0], model.posterior(x, LENGTHS).mean[row]
        )


@pytest.mark.parametrize("name", ["vectors", "tokens"])
def test_the_gradient_of_the_bound_is_that_of_finite_differences(name):
    model = made(name)
    x, parameters = sequences(model), [*model.parameters()]

    def bound():
        return model.bound(x, LENGTHS, generator=noise()).elbo.sum()

    gradients = torch.autograd.grad(bound(), parameters)
    for p, gradient in zip(parameters, gradients, strict=True):
        way = torch.randn(p.shape, generator=noise(3), dtype=p.dtype)
        values = []
        for step in (1e-6, -2e-6):
            with torch.no_grad():
                p += step * way
                values.append(bound().item())
        with torch.no_grad():
            p += 1e-6 * way
        slope = (values[0] - values[1]) / 2e-6
        assert slope == pytest.approx((gradient * way).sum().item(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", ["vectors", "tokens"])
@torch.no_grad()
def test_the_bound_weighs_each_draw_by_how_probable_it_and_the_sequence_are(name):
    model = made(name)
    x = sequences(model)
    posterior = model.posterior(x, LENGTHS)
    z = posterior.draw(3, generator=noise())
    q = torch.distributions.Normal(posterior.mean, (posterior.log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros_like(z), 1.0)
    wanted = model.log_likelihood(x, z, LENGTHS) + (prior.log_prob(z) - q.log_prob(z)).sum(2)
    found = model.bound(x, LENGTHS, 3, noise())
    torch.testing.assert_close(found.importance_weighted, wanted.logsumexp(0) - math.log(3))


@pytest.mark.parametrize(("name", "padding"), [("vectors", math.nan), ("tokens", -1)])
def test_what_lies_beyond_the_end_reaches_no_gradient(name, padding):
    model = made(name)
    x = sequences(model)
    other = x.clone()
    for row, length in enumerate(LENGTHS):
        other[row, length:] = padding
    gradients = [
        torch.autograd.grad(model.bound(its, LENGTHS, 2, noise()).elbo.sum(), [*model.parameters()])
        for its in (x, other)
    ]
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("name", MADE)
@torch.no_grad()
def test_what_is_written_is_what_each_step_says_of_the_next(name):
    model = made(name)
    z = torch.randn(4, 2, dtype=torch.float64, generator=noise())
    x = model.write(z, 6)
    features = x if model.embedding is None else model.embedding(x)
    before = nn.functional.pad(features[:, :-1], (0, 0, 1, 0))
    v, _ = model._write(before, z, None)
    torch.testing.assert_close(x, v if model.embedding is None else v.argmax(-1))
    assert torch.equal(model.sample(3, 2, noise()), model.sample(3, 2, noise()))


def test_the_code_learns_what_a_sequence_is_like():
    torch.manual_seed(0)
    model = SequenceVAE(GRU(1, 12), GRU(2, 12), 1, word_dropout=0.5)
    optimiser = torch.optim.Adam(model.parameters(), 0.02)
    t = torch.arange(10)

    def waves(count):
        level = torch.rand(count, 1)
        return level, (level + 0.05 * torch.sin(t)).unsqueeze(-1)

    for _ in range(150):
        _, x = waves(32)
        loss = -model.bound(x).elbo.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.eval()
    level, x = waves(64)
    with torch.no_grad():
        code = model.posterior(x).mean
        back = model.write(code, 10)
    assert abs(torch.corrcoef(torch.cat((level, code), 1).T)[0, 1]) > 0.95
    assert (back - x).square().mean() < 0.1 * x.var()


@pytest.mark.parametrize("name", ["deep", "tokens"])
def test_a_model_is_written_and_read_back(name, tmp_path):
    model = made(name).float()
    again = load(model.save_pretrained(tmp_path))
    z = torch.randn(4, 2)
    assert torch.equal(again.write(z, 5), model.write(z, 5))
    assert "KL = " in again.equations()


def test_steps_are_hidden_from_the_decoder_in_training_alone():
    model = SequenceVAE(GRU(3, 5), GRU(5, 4), 2, word_dropout=0.9)
    x, z = torch.randn(4, 6, 3), torch.randn(1, 4, 2)
    assert not torch.equal(model.log_likelihood(x, z), model.log_likelihood(x, z))
    model.eval()
    assert torch.equal(model.log_likelihood(x, z), model.log_likelihood(x, z))


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="3 features of a step and 2 of the code, together 5"):
        SequenceVAE(GRU(3, 5), GRU(3, 4), 2)
    with pytest.raises(InputError, match="cannot read both ways"):
        SequenceVAE(GRU(3, 5), Bidirectional(GRU(5, 4)), 2)

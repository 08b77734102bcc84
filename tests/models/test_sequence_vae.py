import math

import pytest
import torch
from torch import nn

import saiki
from saiki import Bidirectional, Recurrent, Stack
from saiki.cells import GRU, LSTM, SimpleRNN
from saiki.decoding import Search
from saiki.errors import InputError
from saiki.models.sequence_vae import SequenceVAE
from saiki.saving.pretrained import load
from saiki.text.vocabulary import BEGIN, END, MASK, PAD, UNKNOWN

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
    "language": lambda: SequenceVAE(None, Stack([GRU(3, 5), LSTM(5, 4)]), 0, vocabulary=7),
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
    z = torch.randn(4, model.latent_size, dtype=torch.float64, generator=noise())
    log_p = model.log_likelihood(x, z[None])[0]
    features = x if model.embedding is None else model.embedding(x)
    state, wanted = model.begin(z), torch.zeros(4, dtype=torch.float64)
    for t in range(6):
        before = torch.zeros_like(features[:, :1]) if t == 0 else features[:, t - 1 : t]
        y, state = model._write(before, z, state)
        v = model.readout(y)
        if model.embedding is None:
            says = torch.distributions.Normal(v[:, 0], model.log_deviation.exp())
            wanted += says.log_prob(x[:, t]).sum(1)
        else:
            wanted += torch.distributions.Categorical(logits=v[:, 0]).log_prob(x[:, t])
    torch.testing.assert_close(log_p, wanted)


@pytest.mark.parametrize("name", MADE)
def test_a_ragged_row_counts_as_much_as_alone_and_padding_is_never_read(name):
    model = made(name)
    x = sequences(model)
    z = torch.randn(3, 4, model.latent_size, dtype=torch.float64, generator=noise())
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
    bound = model.bound(x, LENGTHS, 3, noise())
    torch.testing.assert_close(bound.importance_weighted, wanted.logsumexp(0) - math.log(3))


@pytest.mark.parametrize(("name", "padding"), [("vectors", math.nan), ("tokens", -1)])
def test_what_lies_beyond_the_end_reaches_no_gradient(name, padding):
    model = made(name)
    x = sequences(model)
    other = x.clone()
    for row, length in enumerate(LENGTHS):
        other[row, length:] = padding
    gradients = [
        torch.autograd.grad(
            model.bound(tokens, LENGTHS, 2, noise()).elbo.sum(), [*model.parameters()]
        )
        for tokens in (x, other)
    ]
    torch.testing.assert_close(gradients[1], gradients[0])


@pytest.mark.parametrize("name", ["vectors", "deep", "mine"])
@torch.no_grad()
def test_what_is_written_is_what_each_step_says_of_the_next(name):
    model = made(name)
    z = torch.randn(4, 2, dtype=torch.float64, generator=noise())
    x = model.write(z, 6)
    before = nn.functional.pad(x[:, :-1], (0, 0, 1, 0))
    y, _ = model._write(before, z, model.begin(z))
    torch.testing.assert_close(x, model.readout(y))
    assert torch.equal(model.sample(3, 2, noise()), model.sample(3, 2, noise()))


def writer(name="tokens"):
    """A model that ends its sequences soon, and after different numbers of steps."""
    model = made(name)
    model.readout.bias.data[END] += 0.5
    model.readout.weight.data *= 4
    return model


@pytest.mark.parametrize("name", ["tokens", "language"])
def test_each_token_that_is_written_is_the_most_probable_one_up_to_the_end(name):
    model = writer(name)
    z = torch.randn(20, model.latent_size, dtype=torch.float64, generator=noise())
    greedy = [hypotheses[0] for hypotheses in model.hypotheses(z, [6] * 20, Search("greedy"))]
    for code, best in zip(z, greedy, strict=True):
        row = torch.tensor([[*best.tokens, *[END] * best.finished]])
        v = []
        for t in range(1, row.shape[1] + 1):  # of what it has written itself
            part = row[:, :t].repeat(7, 1)
            part[:, -1] = torch.arange(7)
            all_of_them = model.log_likelihood(part, code.expand(1, 7, -1))[0]
            rest = model.log_likelihood(row[:, : t - 1], code[None, None])[0] if t > 1 else 0
            v.append(all_of_them - rest)
        allowed = torch.stack(v)[:, [END, 5, 6]]
        assert torch.tensor([END, 5, 6])[allowed.argmax(1)].tolist() == row[0].tolist()
        whole = model.log_likelihood(row, code[None, None]).item()
        assert best.log_probability == pytest.approx(whole)
    if name == "tokens":
        ends = {best.finished for best in greedy}
        assert len({len(best.tokens) for best in greedy}) > 1
        assert ends == {True, False} or ends == {True}


def test_what_is_written_ends_with_its_end_and_then_there_is_padding():
    model = writer()
    z = torch.randn(20, 2, dtype=torch.float64, generator=noise())
    table = model.write(z, 6)
    for row, hypotheses in zip(
        table.tolist(), model.hypotheses(z, [6] * 20, Search("greedy")), strict=True
    ):
        best = hypotheses[0]
        wanted = [*best.tokens, *[END] * best.finished]
        assert row == wanted + [PAD] * (len(row) - len(wanted))
    alone = [model.write(code[None], 6)[0].tolist() for code in z]
    assert [[t for t in row if t != PAD] for row in table.tolist()] == [
        [t for t in row if t != PAD] for row in alone
    ]


def test_tokens_are_drawn_as_often_as_they_are_probable_and_beams_find_better_sequences():
    model = writer()
    z = torch.randn(1, 2, dtype=torch.float64, generator=noise())
    samples = model.hypotheses(z, [1], Search("sample", n_best=4000))[0]
    first = torch.tensor(
        [hypotheses.tokens[0] if hypotheses.tokens else END for hypotheses in samples]
    )
    p = model.advance(torch.tensor([BEGIN]), model.begin(z), z)[0][0].exp()
    p[[PAD, UNKNOWN, BEGIN, MASK]] = 0
    shares = torch.bincount(first, minlength=7) / 4000
    torch.testing.assert_close(shares.double(), p / p.sum(), atol=0.03, rtol=0)
    greedy, beam = (
        [
            hypotheses[0].log_probability
            for hypotheses in model.hypotheses(z.expand(3, -1), [9] * 3, search)
        ]
        for search in (Search("greedy"), Search("beam", beam=8))
    )
    assert all(b >= a - 1e-9 for a, b in zip(greedy, beam, strict=True))


def test_without_a_code_there_is_a_language_model_whose_bound_is_exact():
    model = made("language")
    x = sequences(model)
    bound = model.bound(x, LENGTHS, samples=1)
    assert bound.divergence.shape == (4, 0)
    assert torch.equal(bound.elbo, bound.importance_weighted)
    rows = torch.cartesian_prod(*[torch.arange(7)] * 3)  # all that there are of three steps
    p = model.log_likelihood(rows, rows.new_zeros(1, len(rows), 0).double())[0].exp()
    assert p.sum().item() == pytest.approx(1)
    for parameter, gradient in zip(
        model.parameters(),
        torch.autograd.grad(bound.elbo.sum(), [*model.parameters()]),
        strict=True,
    ):
        assert gradient.shape == parameter.shape


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


@pytest.mark.parametrize("name", ["deep", "tokens", "language"])
def test_a_model_is_written_and_read_back(name, tmp_path):
    model = made(name).float()
    restored = load(model.save_pretrained(tmp_path))
    z = torch.randn(4, model.latent_size)
    assert torch.equal(restored.write(z, 5), model.write(z, 5))
    assert ("KL = " in restored.equations()) == (model.latent_size > 0)


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
    for encoder, size in ((None, 2), (GRU(3, 5), 0)):
        with pytest.raises(InputError, match=f"none with a latent_size of 0, got {size}"):
            SequenceVAE(encoder, GRU(5, 4), size)

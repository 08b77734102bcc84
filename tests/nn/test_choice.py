"""Hard choices: what is drawn, and each estimator's mean gradient beside the exact one.

An estimate is drawn many times, each from a leaf of its own, so that the gradient of each is known.
The mean must lie within 3 standard errors of the exact gradient, in every component.
"""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from torch.distributions import Categorical

from nn.attention_by_hand import make
from saiki.errors import InputError
from saiki.nn.attention.choice import (
    MovingBaseline,
    choose,
    marginal_log_likelihood,
    reinforce_loss,
)
from saiki.saving.description import describe
from saiki.saving.description import make as remake

E = torch.tensor([0.5, -0.3, 1.1, 0.0, -torch.inf], dtype=torch.float64)
"""Scores of five positions, one of them padding."""
REWARDS = torch.tensor([3.0, 4.5, 2.0, 5.0, torch.nan], dtype=torch.float64)


def mean_and_error(gradients):
    """Over samples ``(n, …)``: their mean and its standard error."""
    return gradients.mean(0), gradients.std(0) / len(gradients) ** 0.5


def off(gradients, exact):
    """The largest distance of the mean from ``exact``, in standard errors."""
    mean, error = mean_and_error(gradients)
    where_both_are_0 = (mean == exact) & (error == 0)
    return ((mean - exact).abs() / error).masked_fill(where_both_are_0, 0).max().item()


# What is drawn


@pytest.mark.parametrize("choice", ["reinforce", "gumbel"])
def test_positions_are_drawn_with_their_probabilities(choice):
    samples = choose(E.log_softmax(0).expand(100_000, 5), choice, 0.7, sample=True).weights
    assert samples.sum(1).eq(1).all()
    assert samples[:, 4].sum() == 0
    assert off(samples, E.softmax(0)) < 3


@pytest.mark.parametrize("choice", ["reinforce", "gumbel"])
def test_without_sampling_the_most_probable_position_is_chosen(choice):
    log_p = E.log_softmax(0).requires_grad_()
    chosen = choose(log_p, choice, 1.0, sample=False)
    assert chosen.weights.tolist() == [0, 0, 1, 0, 0]
    assert not chosen.weights.requires_grad


def test_probabilities_log_choices_and_entropies_are_those_of_torch():
    log_p = E.log_softmax(0).expand(50, 5)
    theirs = Categorical(logits=log_p)
    for name in ("soft", "reinforce", "gumbel", "marginal"):
        choice = choose(log_p, name, 1.0, sample=True)
        torch.testing.assert_close(choice.probabilities, theirs.probs)
        if name == "soft":
            assert choice.entropy is None
        else:
            torch.testing.assert_close(choice.entropy, theirs.entropy())
        if name == "reinforce":
            chosen = choice.weights.argmax(-1)
            assert len(set(chosen.tolist())) == 4
            torch.testing.assert_close(choice.log_choice, theirs.log_prob(chosen))
        else:
            assert choice.log_choice is None
        if name in ("soft", "marginal"):
            assert torch.equal(choice.weights, choice.probabilities)


def test_attention_draws_in_training_alone_and_not_for_the_best():
    attention = make("dot", scale=0.1, choice="reinforce")
    memory = attention.prepare(torch.randn(1, 6, 6, dtype=torch.float64).expand(200, 6, 6))
    query = torch.zeros(200, 6, dtype=torch.float64)
    assert attention(query, memory).weights.sum(0).gt(0).all()
    assert attention(query, memory, best=True).weights[:, 0].eq(1).all()
    assert attention.eval()(query, memory).weights[:, 0].eq(1).all()


# REINFORCE


def exact_gradient(weight=0.0):
    """Of −Σᵢ pᵢ rᵢ − weight · H(p)."""
    e = E.clone().requires_grad_()
    p = e[:4].softmax(0)
    (-(p * REWARDS[:4]).sum() + weight * (p * p.log()).sum()).backward()
    return e.grad


def estimates(batches, baseline, weight=0.0, batch=200):
    """The gradient of each choice; ``baseline`` gives b from the rewards of a batch."""
    gradients = []
    for _ in range(batches):
        e = E.repeat(batch, 1).requires_grad_()
        choice = choose(e.log_softmax(-1), "reinforce", 1.0, sample=True)
        reward = REWARDS[choice.weights.argmax(-1)]
        entropy = choice.entropy if weight else None
        loss = reinforce_loss(choice.log_choice, reward, baseline(reward), entropy, weight)
        (loss * batch).backward()
        gradients.append(e.grad)
    return torch.cat(gradients)


BASELINES = {
    "none": lambda: lambda reward: 0.0,
    "moving": lambda: MovingBaseline(0.9),
    "self-critical": lambda: lambda reward: REWARDS[E.argmax()].expand_as(reward),
}


@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("name", BASELINES)
def test_reinforce_is_unbiased(name, weight):
    gradients = estimates(200, BASELINES[name](), weight)
    exact = exact_gradient(weight)
    assert off(gradients, exact) < 3
    _, error = mean_and_error(gradients)
    assert error.max() < 0.05 * exact.abs().max()


def test_a_baseline_takes_variance_away():
    none, moving = (estimates(50, BASELINES[b]()).var(0).sum() for b in ("none", "moving"))
    assert moving < 0.25 * none


@pytest.mark.parametrize("window", ["global", "local-m", "local-p"])
@pytest.mark.parametrize("heads", [1, 2])
def test_reinforce_through_attention_is_unbiased(heads, window):
    """The loss f(context) is that of all tuples of positions that the heads may choose."""
    attention = make(
        "general", query_size=4, memory_size=4, heads=heads, choice="reinforce", window=window
    )
    query = torch.randn(1, 4, dtype=torch.float64)
    memory = torch.randn(1, 5, 4, dtype=torch.float64)
    mask = torch.tensor([[True, True, True, False, True]])
    with torch.no_grad():
        prepared = attention.prepare(memory, mask)

    def f(context):
        return (context[..., 0] - 0.5).square() + context[..., 1:].prod(-1)

    q = query.clone().requires_grad_()
    e = attention.score(q[:, None], prepared.keys)[0, :, 0]
    steps = torch.tensor([[1]])
    p = (e + attention.window(q[:, None], mask, steps)[0]).softmax(-1)
    values = prepared.values[0].unflatten(-1, (heads, -1))
    exact = torch.zeros((), dtype=torch.float64)
    for positions in itertools.product(range(5), repeat=heads):
        context = torch.cat([values[s, h] for h, s in enumerate(positions)])
        chosen = torch.stack([p[h, s] for h, s in enumerate(positions)]).prod()
        exact = exact + chosen * f(attention.output(context)).detach()
    exact.backward()

    n = 40_000
    many = query.repeat(n, 1).requires_grad_()
    attended = attention(many, type(prepared)(*(x.expand(n, *x.shape[1:]) for x in prepared)), 1)
    reward = -f(attended.context).detach()
    (reinforce_loss(attended.log_choice, reward, reward.mean()) * n).backward()
    assert off(many.grad, q.grad[0]) < 3
    assert mean_and_error(many.grad)[1].max() < 0.05 * q.grad.abs().max()


def test_the_loss_of_reinforce_is_that_of_its_equation():
    log_choice, entropy = torch.randn(2, 3), torch.rand(2, 3)
    reward, baseline = torch.randn(2, 3), torch.randn(2, 3)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    real = [(0, 0), (0, 1), (0, 2), (1, 0)]

    def by_hand(reward, baseline):
        terms = [
            -(reward(b, t) - baseline(b, t)) * log_choice[b, t] - 0.3 * entropy[b, t]
            for b, t in real
        ]
        return torch.stack(terms).mean()

    def each(x):
        return lambda b, t: x[b, t]

    def of_row(x):
        return lambda b, t: x[b, 0]

    loss = reinforce_loss(log_choice, reward, baseline, entropy, 0.3, mask)
    torch.testing.assert_close(loss, by_hand(each(reward), each(baseline)))
    loss = reinforce_loss(log_choice, reward[:, 0], baseline[:, 0], entropy, 0.3, mask)
    torch.testing.assert_close(loss, by_hand(of_row(reward), of_row(baseline)))
    loss = reinforce_loss(log_choice, reward, 0.5, entropy, 0.3, mask)
    torch.testing.assert_close(loss, by_hand(each(reward), lambda b, t: 0.5))
    loss = reinforce_loss(log_choice, reward)
    torch.testing.assert_close(loss, -(reward * log_choice).mean())


def test_rewards_of_padding_do_not_matter_and_none_gets_a_gradient():
    mask = torch.tensor([[True, True, False]])
    reward = torch.tensor([[1.0, 2.0, torch.nan]], requires_grad=True)
    log_choice = torch.randn(1, 3, requires_grad=True)
    baseline = torch.zeros(1, 3, requires_grad=True)
    reinforce_loss(log_choice, reward, baseline, mask=mask).backward()
    assert log_choice.grad.tolist() == [[-0.5, -1.0, 0.0]]
    assert reward.grad is None
    assert baseline.grad is None


def test_arguments_of_reinforce_that_do_not_fit_are_refused():
    x, row = torch.zeros(2, 3), torch.zeros(2)
    with pytest.raises(InputError, match=r"reward must have the shape \(2, 3\).*got \(3,\)"):
        reinforce_loss(x, torch.zeros(3))
    with pytest.raises(InputError, match=r"baseline must be a number or have the shape \(2, 3\)"):
        reinforce_loss(x, x, row)
    with pytest.raises(InputError, match=r"got no entropy with weight 0\.1"):
        reinforce_loss(x, x, entropy_weight=0.1)
    with pytest.raises(InputError, match=r"got entropy with weight 0\.0"):
        reinforce_loss(x, x, entropy=x)
    with pytest.raises(InputError, match=r"entropy must have the shape \(2, 3\)"):
        reinforce_loss(x, x, entropy=row, entropy_weight=0.1)
    with pytest.raises(InputError, match=r"mask must be bool of shape \(2, 3\), got torch.bool"):
        reinforce_loss(x, x, mask=row.bool())


# The moving baseline


def test_the_moving_baseline_is_that_of_its_equation():
    baseline, decay = MovingBaseline(0.8), 0.8
    rewards = [torch.randn(3, 2) for _ in range(6)]
    mask = torch.tensor([[True, True], [True, False], [False, False]])
    for n, reward in enumerate(rewards):
        means = [r[mask].mean().item() for r in rewards[:n]][::-1]
        weights = [decay**k for k in range(n)]
        want = sum(w * r for w, r in zip(weights, means, strict=True)) / sum(weights) if n else 0.0
        assert baseline.eval()(reward, mask).item() == pytest.approx(want, abs=1e-6)
        assert baseline.train()(reward, mask).item() == pytest.approx(want, abs=1e-6)


def test_the_moving_baseline_follows_a_constant_at_once():
    baseline = MovingBaseline(0.99)
    got = [baseline(torch.full((4,), 2.5, requires_grad=True)) for _ in range(4)]
    assert [b.item() for b in got] == [0, *[pytest.approx(2.5)] * 3]
    assert not any(b.requires_grad for b in got)


def test_the_moving_baseline_is_kept_and_made_again():
    baseline = MovingBaseline(0.5)
    baseline(torch.tensor([3.0]))
    baseline(torch.tensor([7.0]))
    copy = remake(json.loads(json.dumps(describe(baseline))))
    assert copy.decay == 0.5
    copy.load_state_dict(baseline.state_dict())
    assert copy(torch.zeros(1)).item() == baseline(torch.zeros(1)).item() != 0
    for decay in (-0.1, 1.0):
        with pytest.raises(InputError, match="decay must be at least 0 and below 1"):
            MovingBaseline(decay)


# Straight-through Gumbel-softmax, for a loss f of one number that is read


VALUES = torch.tensor([-1.0, 0.4, 1.5, 0.9, 0.0], dtype=torch.float64)
LOSSES = {
    "linear": (lambda v: 2 * v, lambda v: 2 + 0 * v),
    "quadratic": (lambda v: (v + 2) ** 2, lambda v: 2 * (v + 2)),
    "cubic": (lambda v: v**3, lambda v: 3 * v**2),
}


def straight_through(n, e, values, f, temperature):
    """The gradient of each of n samples."""
    many = e.repeat(n, 1).requires_grad_()
    choice = choose(many.log_softmax(-1), "gumbel", temperature, sample=True)
    f(choice.weights @ values).sum().backward()
    return many.grad


def of_the_mean_loss(e, values, f):
    """The exact gradient, that of Σᵢ pᵢ f(vᵢ)."""
    e = e.clone().requires_grad_()
    (e.softmax(0) @ f(values)).backward()
    return e.grad


def in_the_limit(e, values, slope):
    """Σⱼ pᵢ pⱼ ½ (f′(vᵢ) + f′(vⱼ)) (vᵢ − vⱼ): the mean estimate for τ → 0."""
    p, s, v = e.softmax(0), slope(values), values
    return (p[:, None] * p * (s[:, None] + s) / 2 * (v[:, None] - v)).sum(1)


def by_quadrature(a, v, slope, temperature):
    """The mean estimate for two positions with scores a and 0: log-odds with logistic noise."""
    noise = np.linspace(-40, 40, 800_001)
    density = 1 / (2 + 2 * np.cosh(noise))
    y = 0.5 * (1 + np.tanh((a + noise) / (2 * temperature)))
    at = np.where(a + noise > 0, slope(v[0]), slope(v[1]))
    return np.trapezoid(density * at * (v[0] - v[1]) * y * (1 - y) / temperature, noise)


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("name", LOSSES)
def test_the_mean_of_gumbel_is_that_of_its_integral(name, temperature):
    f, slope = LOSSES[name]
    e, v = torch.tensor([0.8, 0.0], dtype=torch.float64), VALUES[[2, 0]]
    want = by_quadrature(0.8, v.numpy(), slope, temperature)
    gradients = straight_through(100_000, e, v, f, temperature)
    assert off(gradients, torch.tensor([want, -want])) < 3
    assert mean_and_error(gradients)[1].max() < 0.03 * abs(want)


@pytest.mark.parametrize("name", ["linear", "quadratic"])
def test_gumbel_is_right_for_a_small_temperature_up_to_quadratic_losses(name):
    f, slope = LOSSES[name]
    exact = of_the_mean_loss(E, VALUES, f)
    torch.testing.assert_close(in_the_limit(E, VALUES, slope), exact)
    gradients = straight_through(200_000, E, VALUES, f, 0.03)
    assert off(gradients, exact) < 3
    assert mean_and_error(gradients)[1].max() < 0.03 * exact.abs().max()


def test_gumbel_is_wrong_by_a_known_amount_for_a_cubic_loss():
    f, slope = LOSSES["cubic"]
    exact, limit = of_the_mean_loss(E, VALUES, f), in_the_limit(E, VALUES, slope)
    gradients = straight_through(200_000, E, VALUES, f, 0.03)
    assert off(gradients, limit) < 3
    assert off(gradients, exact) > 10
    assert (limit - exact).norm() > 0.15 * exact.norm()


def test_the_error_of_gumbel_grows_with_the_square_of_a_small_temperature():
    f, _ = LOSSES["linear"]
    exact = of_the_mean_loss(E, VALUES, f)
    errors = []
    for temperature in (0.3, 0.6):
        mean, _ = mean_and_error(straight_through(500_000, E, VALUES, f, temperature))
        errors.append((mean - exact).norm().item())
    assert errors[1] / errors[0] == pytest.approx(4, rel=0.25)


def test_the_gradient_of_gumbel_vanishes_for_a_large_temperature():
    f, _ = LOSSES["linear"]
    mean, error = mean_and_error(straight_through(20_000, E, VALUES, f, 100.0))
    assert (mean.abs() + 3 * error).max() < 0.02 * of_the_mean_loss(E, VALUES, f).abs().max()


def test_the_variance_of_gumbel_grows_as_1_over_a_small_temperature():
    f, _ = LOSSES["linear"]
    wide, narrow = (
        straight_through(200_000, E, VALUES, f, t).var(0).sum().item() for t in (0.04, 0.02)
    )
    assert narrow / wide == pytest.approx(2, rel=0.1)


def test_gumbel_goes_through_attention():
    attention = make("general", query_size=3, memory_size=2, choice="gumbel", temperature=0.03)
    query = torch.randn(1, 3, dtype=torch.float64)
    with torch.no_grad():
        memory = attention.prepare(torch.randn(1, 4, 2, dtype=torch.float64))
    loss = torch.randn(2, dtype=torch.float64)
    q = query.clone().requires_grad_()
    p = attention.score(q[:, None], memory.keys)[0, 0, 0].softmax(-1)
    (p @ memory.values[0] @ loss).backward()
    n = 100_000
    many = query.repeat(n, 1).requires_grad_()
    attended = attention(many, type(memory)(*(x.expand(n, *x.shape[1:]) for x in memory)))
    (attended.context @ loss).sum().backward()
    assert off(many.grad, q.grad[0]) < 3
    assert mean_and_error(many.grad)[1].max() < 0.05 * q.grad.abs().max()


# The exact marginal


def test_the_marginal_is_the_logarithm_of_a_mean_of_likelihoods():
    likelihoods = torch.rand(3, 5, dtype=torch.float64)
    got = marginal_log_likelihood(E.log_softmax(0), likelihoods.log())
    p = [math.exp(e) / sum(math.exp(x) for x in E.tolist()) for e in E.tolist()]
    for row, value in zip(likelihoods.tolist(), got.tolist(), strict=True):
        want = math.log(sum(a * b for a, b in zip(p, row, strict=True)))
        assert value == pytest.approx(want, rel=1e-13)


def test_the_gradient_of_the_marginal_is_that_of_finite_differences_with_padding():
    real = torch.tensor([True, True, True, True, False])

    def marginal(e, log_likelihoods):
        log_p = e.masked_fill(~real, -torch.inf).log_softmax(-1)
        return marginal_log_likelihood(log_p, log_likelihoods)

    e, log_likelihoods = (torch.randn(2, 5, dtype=torch.float64).requires_grad_() for _ in "el")
    assert torch.autograd.gradcheck(marginal, (e, log_likelihoods))

import math

import pytest
import torch

from saiki.nn.latent import Gaussian, annealed, free_bits, importance_bound


def two(seed=0, size=3):
    torch.manual_seed(seed)
    return (Gaussian.of(torch.randn(2, 2 * size, dtype=torch.float64)) for _ in range(2))


@pytest.mark.parametrize("is_standard", [True, False])
def test_the_divergence_in_closed_form_is_that_of_draws(is_standard):
    q, p = two()
    prior = Gaussian.standard(q.mean) if is_standard else p
    z = q.draw(400_000, generator=torch.Generator().manual_seed(1))
    ratio = q.log_density(z) - prior.log_density(z)
    wanted = q.divergence(None if is_standard else p).sum(1)
    error = ratio.std(0) / math.sqrt(len(z))
    assert ((ratio.mean(0) - wanted).abs() < 4 * error).all()
    assert (error < 0.01).all()


def test_the_density_and_the_divergence_are_those_of_pytorch():
    q, p = two(3)
    ours = q.log_density(z := torch.randn(5, 2, 3, dtype=torch.float64)), q.divergence(p)
    a, b = (torch.distributions.Normal(g.mean, (g.log_variance / 2).exp()) for g in (q, p))
    torch.testing.assert_close(ours[0], a.log_prob(z).sum(-1))
    torch.testing.assert_close(ours[1], torch.distributions.kl_divergence(a, b))


def test_a_network_that_says_enormous_numbers_gets_finite_ones():
    q = Gaussian.of(torch.tensor([[0.0, 1.0, 1e9, -1e9]]))
    assert torch.isfinite(q.divergence()).all()
    assert torch.isfinite(q.draw()).all()


def test_free_bits_cost_nothing_and_pull_nowhere_until_they_are_used():
    divergence = torch.tensor([[0.1, 2.0], [0.5, 4.0]], requires_grad=True)
    cost = free_bits(divergence, 0.5)
    assert cost.item() == pytest.approx(0.5 + 3.0)
    [slope] = torch.autograd.grad(cost, divergence)
    assert slope.tolist() == [[0.0, 0.5], [0.0, 0.5]]
    assert free_bits(divergence, 0.0).item() == pytest.approx(0.3 + 3.0)


def test_the_weight_of_the_divergence_rises_once_or_in_cycles():
    assert [annealed(1.0, 0.0, 1, step, 4) for step in range(5)] == [1.0] * 5
    once = [annealed(2.0, 0.5, 1, step, 8) for step in range(9)]
    assert once == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0, 2.0]
    twice = [annealed(1.0, 0.5, 2, step, 8) for step in range(9)]
    assert twice == [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0, 1.0, 1.0]


def test_the_importance_bound_is_the_logarithm_of_the_mean_weight_however_small_weights_are():
    log_weights = torch.tensor([[-1000.0, 1.0], [-1001.0, 2.0]])
    bound = importance_bound(log_weights)
    assert bound[0].item() == pytest.approx(-1000 + math.log((1 + math.exp(-1)) / 2), abs=1e-4)
    assert bound[1].item() == pytest.approx(math.log((math.e + math.e**2) / 2), abs=1e-6)

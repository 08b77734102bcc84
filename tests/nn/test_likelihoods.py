import math

import pytest
import torch

from saiki.nn import likelihoods

SOME = {
    "bernoulli": likelihoods.Bernoulli(),
    "gaussian": likelihoods.Gaussian(2).double(),
    "fixed": likelihoods.Gaussian(2, 0.1).double(),
    "logistic": likelihoods.DiscretisedLogistic(),
    "mixture": likelihoods.DiscretisedLogistic(3),
}


def parameters(likelihood, *before, spread=1.0):
    torch.manual_seed(0)
    return spread * torch.randn(*before, 3, 2 * likelihood.outputs, 4, 5, dtype=torch.float64)


@pytest.mark.parametrize("components", [1, 4])
@pytest.mark.parametrize("spread", [0.1, 1.0, 8.0])
def test_the_probabilities_of_all_256_values_of_a_pixel_sum_to_1(components, spread):
    likelihood = likelihoods.DiscretisedLogistic(components)
    torch.manual_seed(0)
    v = spread * torch.randn(20, likelihood.outputs, 1, 1, dtype=torch.float64)
    levels = torch.arange(256, dtype=torch.float64) / 255
    logs = torch.stack([likelihood.log_prob(v, x.expand(20, 1, 1, 1)) for x in levels])
    torch.testing.assert_close(logs.exp().sum(0), torch.ones(20, dtype=torch.float64))


def test_a_level_has_what_the_logistic_distribution_says_of_its_surroundings():
    v = torch.tensor([0.3, 0.2, -1.0], dtype=torch.float64).view(1, 3, 1, 1)
    likelihood, scale = likelihoods.DiscretisedLogistic(), math.exp(-1.0)

    def below(x):
        return 1 / (1 + math.exp(-(x - 0.2) / scale))

    for level in (1, 128, 254):
        x = 2 * level / 255 - 1
        wanted = math.log(below(x + 1 / 255) - below(x - 1 / 255))
        log_p = likelihood.log_prob(v, torch.full((1, 1, 1, 1), level / 255, dtype=torch.float64))
        assert log_p.item() == pytest.approx(wanted, rel=1e-9)


def test_a_sharp_pixel_far_from_its_value_has_a_finite_gradient():
    v = torch.tensor([0.0, 1.0, -50.0]).view(1, 3, 1, 1).requires_grad_()
    for x in (0.0, 0.5, 1.0):
        log_p = likelihoods.DiscretisedLogistic().log_prob(v, torch.full((1, 1, 1, 1), x))
        [slope] = torch.autograd.grad(log_p.sum(), v)
        assert torch.isfinite(log_p).all()
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize("name", ["gaussian", "fixed"])
def test_the_gaussian_is_that_of_pytorch(name):
    likelihood = SOME[name]
    x, v = torch.rand(3, 2, 4, 5, dtype=torch.float64), parameters(likelihood)
    wanted = torch.distributions.Normal(v, likelihood.deviation).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(likelihood.log_prob(v, x), wanted)


def test_a_learned_deviation_becomes_the_error_and_never_nothing():
    likelihood = likelihoods.Gaussian(2)
    v, x = torch.zeros(50, 2, 8, 8), torch.zeros(50, 2, 8, 8)
    x[:, 0] = 0.1 * torch.randn(50, 8, 8)
    optimiser = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        (-likelihood.log_prob(v, x).mean()).backward()
        optimiser.step()
    noisy, constant = likelihood.deviation.flatten().tolist()
    assert noisy == pytest.approx(0.1, rel=0.03)
    assert 0.5 / 255 < constant < 0.003
    assert not [*likelihoods.Gaussian(2, 0.1).parameters()]


def test_the_cross_entropy_of_the_bernoulli_is_that_of_pytorch():
    v, x = parameters(SOME["bernoulli"]), torch.rand(3, 2, 4, 5, dtype=torch.float64)
    wanted = -torch.nn.functional.binary_cross_entropy_with_logits(v, x, reduction="none")
    torch.testing.assert_close(SOME["bernoulli"].log_prob(v, x), wanted.sum((1, 2, 3)))


@pytest.mark.parametrize("name", SOME)
def test_many_draws_of_each_row_are_judged_at_once(name):
    likelihood = SOME[name]
    v, x = parameters(likelihood, 7), torch.rand(3, 2, 4, 5, dtype=torch.float64)
    together = likelihood.log_prob(v, x)
    assert together.shape == (7, 3)
    torch.testing.assert_close(together, torch.stack([likelihood.log_prob(row, x) for row in v]))


@pytest.mark.parametrize("name", SOME)
def test_the_expected_image_lies_between_black_and_white(name):
    mean = SOME[name].mean(parameters(SOME[name], spread=5.0))
    assert mean.shape == (3, 2, 4, 5)
    assert mean.min() >= 0
    assert mean.max() <= 1

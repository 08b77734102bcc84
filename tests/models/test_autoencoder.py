import copy
import math

import pytest
import torch

from saiki.models.autoencoder import VAE, Autoencoder
from saiki.models.image_networks import decoder, encoder
from saiki.nn.likelihoods import Bernoulli, DiscretisedLogistic, Gaussian
from saiki.saving.pretrained import load

SHAPE = (2, 5, 7)
LIKELIHOODS = {
    "bernoulli": Bernoulli,
    "gaussian": lambda: Gaussian(2),
    "logistic": lambda: DiscretisedLogistic(2),
}


def small(kind=VAE, likelihood="bernoulli", networks="convolutional", latents=3):
    torch.manual_seed(0)
    says = LIKELIHOODS[likelihood]()
    numbers = 2 * latents if kind is VAE else latents
    reads = encoder(SHAPE, numbers, networks, 4)
    writes = decoder((SHAPE[0] * says.outputs, *SHAPE[1:]), latents, networks, 4)
    return kind(SHAPE, latents, reads, writes, says).double()


def images(count=4):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(5)).double()


def noise(seed=0):
    return torch.Generator().manual_seed(seed)


def elbo(model, seed=0):
    return model.bound(images(), generator=noise(seed)).elbo.mean()


def weighted(model):
    return model.bound(images(), 3, noise()).importance_weighted.mean()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("bound", [elbo, weighted])
def test_the_gradient_of_the_bound_is_that_of_finite_differences(likelihood, bound):
    model = small(likelihood=likelihood, networks="fully-connected")
    parameters = [*model.parameters()]
    gradients = torch.autograd.grad(bound(model), parameters)
    random = torch.Generator().manual_seed(2)
    for p, gradient in zip(parameters, gradients, strict=True):
        way = torch.randn(p.shape, generator=random, dtype=p.dtype)
        with torch.no_grad():
            values = []
            for step in (1e-6, -1e-6):
                p += step * way
                values.append(bound(model).item())
                p -= step * way
        slope = (values[0] - values[1]) / 2e-6
        assert slope == pytest.approx((gradient * way).sum().item(), rel=1e-5, abs=1e-6)


@torch.no_grad()
def test_the_bound_with_one_sample_is_the_elbo_of_the_same_noise():
    model, x = small(), images()
    posterior = model.posterior(x)
    z = posterior.draw(1, generator=noise(3))[0]
    prior = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
    wanted = model.log_likelihood(x, z) + prior - posterior.log_density(z)
    torch.testing.assert_close(model.bound(x, 1, noise(3)).importance_weighted, wanted)


@torch.no_grad()
def test_the_bound_with_one_sample_is_the_elbo_in_the_mean_and_rises_with_more():
    model, x = small(latents=6), images(2)
    with torch.no_grad():  # a posterior far from that of the prior
        model.encoder.readout[-1].weight.mul_(5)
        model.decoder.begin[0].weight.mul_(30)
    repeated = x.repeat_interleave(1500, 0)
    elbos = model.bound(repeated, generator=noise(1)).elbo
    means, errors = [elbos.mean()], [elbos.std() / math.sqrt(len(elbos))]
    for samples in (1, 2, 8, 32):
        bounds = model.bound(repeated, samples, noise(samples)).importance_weighted
        means.append(bounds.mean())
        errors.append(bounds.std() / math.sqrt(len(bounds)))
    assert abs(means[0] - means[1]) < 4 * (errors[0] + errors[1])
    for fewer, more, *their in zip(means[1:], means[2:], errors[1:], errors[2:], strict=False):
        assert more - fewer > 4 * sum(their)


@torch.no_grad()
def test_the_bound_comes_to_the_true_probability_of_a_linear_model():
    """x = W z + noise has a marginal in closed form."""
    torch.manual_seed(1)
    says = Gaussian(1, 0.5)
    writes = torch.nn.Sequential(torch.nn.Linear(2, 6), torch.nn.Unflatten(1, (1, 2, 3)))
    reads = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 4))
    model = VAE((1, 2, 3), 2, reads, writes, says).double()
    x = torch.rand(3, 1, 2, 3, dtype=torch.float64)
    W, b = writes[0].weight, writes[0].bias
    covariance = W @ W.T + says.deviation.item() ** 2 * torch.eye(6)
    wanted = torch.distributions.MultivariateNormal(b, covariance).log_prob(x.flatten(1))
    bound = model.bound(x, 100_000, noise()).importance_weighted
    torch.testing.assert_close(bound, wanted, rtol=0, atol=0.03)


@pytest.mark.parametrize("kind", [Autoencoder, VAE])
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@torch.no_grad()
def test_a_model_is_written_and_read_back(kind, likelihood, tmp_path):
    model = small(kind, likelihood).float()
    restored = load(model.save_pretrained(tmp_path))
    x = images().float()
    assert type(restored) is kind
    assert torch.equal(restored(x), model(x))
    assert model(x).shape == x.shape
    assert "z ← " in restored.equations()


def test_a_posterior_that_is_the_prior_costs_nothing_and_draws_differ_by_the_seed_alone():
    model = copy.deepcopy(small())
    with torch.no_grad():
        model.encoder.readout[-1].weight.zero_()
        model.encoder.readout[-1].bias.zero_()
        assert model.bound(images()).divergence.abs().max() == 0
        a, b, c = (model.sample(3, noise(seed)) for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_plain_one_has_no_divergence_and_its_bound_is_what_it_says_of_its_codes():
    model, x = small(Autoencoder), images()
    bound = model.bound(x)
    assert torch.equal(bound.elbo, model.log_likelihood(x, model.encode(x)))
    assert torch.equal(bound.code, model.encode(x))

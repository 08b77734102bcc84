"""Laws of series, against PyTorch, SciPy and finite differences."""

import math

import numpy as np
import pytest
import torch
from scipy import special, stats

from saiki.errors import InputError
from saiki.nn.incomplete_beta import incomplete_beta
from saiki.nn.series_likelihoods import (
    LIKELIHOODS,
    Gaussian,
    NegativeBinomial,
    Student,
    student_quantile,
)

LEVELS = [0.001, 0.025, 0.1, 0.5, 0.9, 0.975, 0.9999]


def features(law, targets=2, dtype=torch.float64, spread=2.0):
    generator = torch.Generator().manual_seed(0)
    size = law.parameters * targets
    return spread * torch.randn(3, 4, size, generator=generator, dtype=torch.float64).to(dtype)


def values(law, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    y = 3 * torch.randn(3, 4, 2, generator=generator, dtype=torch.float64)
    return (y.abs().round() if law.counts else y).to(dtype)


def of_scipy(law):
    if isinstance(law, Gaussian):
        return stats.norm(law.location.numpy(), law.scale.numpy())
    if isinstance(law, Student):
        return stats.t(law.freedom.numpy(), law.location.numpy(), law.scale.numpy())
    n = 1 / law.dispersion.numpy()
    return stats.nbinom(n, 1 / (1 + law.dispersion.numpy() * law.rate.numpy()))


def of_pytorch(law):
    if isinstance(law, Gaussian):
        return torch.distributions.Normal(law.location, law.scale)
    if isinstance(law, Student):
        return torch.distributions.StudentT(law.freedom, law.location, law.scale)
    odds = law.dispersion * law.rate
    return torch.distributions.NegativeBinomial(1 / law.dispersion, logits=odds.log())


@pytest.fixture(params=LIKELIHOODS, ids=str)
def kind(request):
    return LIKELIHOODS[request.param]


def test_the_density_is_that_of_others(kind):
    law, y = kind.of(features(kind)), values(kind)
    density = law.log_density(y)
    assert density.shape == (3, 4, 2)
    scipy = of_scipy(law)
    wanted = scipy.logpmf(y.numpy()) if kind.counts else scipy.logpdf(y.numpy())
    np.testing.assert_allclose(density, wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(density, of_pytorch(law).log_prob(y), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(law.mean, scipy.mean(), rtol=1e-6)


def test_the_gradient_is_that_of_finite_differences(kind):
    v = features(kind).requires_grad_()
    y = values(kind)
    assert torch.autograd.gradcheck(lambda v: kind.of(v).log_density(y), v)
    y[0, 0, 0] = math.nan
    assert torch.autograd.gradcheck(lambda v: kind.of(v).loss(y), v)


def test_quantiles_are_those_of_scipy(kind):
    law = kind.of(features(kind))
    quantiles = law.quantiles(LEVELS)
    assert quantiles.shape == (3, 4, 2, len(LEVELS))
    wanted = np.stack([of_scipy(law).ppf(level) for level in LEVELS], -1)
    np.testing.assert_allclose(quantiles, wanted, rtol=1e-8, atol=1e-8)


def test_samples_follow_the_law(kind):
    law = kind.of(features(kind, spread=1.0))
    samples = law.sample(20_000, torch.Generator().manual_seed(0))
    assert samples.shape == (20_000, 3, 4, 2)
    assert torch.equal(samples, law.sample(20_000, torch.Generator().manual_seed(0)))
    scipy = of_scipy(law)
    for level in (0.1, 0.5, 0.9):
        at = scipy.ppf(level)
        shares, wanted = (samples <= torch.from_numpy(at)).double().mean(0), scipy.cdf(at)
        error = np.sqrt(wanted * (1 - wanted) / 20_000)
        assert (abs(shares.numpy() - wanted) <= 4 * error + 1e-12).all()


def test_what_is_missing_is_left_out_of_the_loss(kind):
    v, y = features(kind).requires_grad_(), values(kind)
    y[0], y[2, 1, 0] = math.nan, math.nan
    loss = kind.of(v).loss(y)
    known = ~y.isnan()
    wanted = -kind.of(v).log_density(y)[known].mean()
    torch.testing.assert_close(loss, wanted)
    [slope] = torch.autograd.grad(loss, v)
    assert torch.isfinite(slope).all()
    assert not slope[0].any()
    assert slope[1].all()
    assert kind.of(v).loss(y * math.nan) == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extremes_are_finite_in_single_precision(kind, dtype):
    ends = torch.tensor([-300.0, -30.0, 0.0, 30.0, 300.0])
    v = torch.cartesian_prod(*[ends] * kind.parameters).to(dtype).requires_grad_()
    for y in (0.0, 1.0, 1e4):
        law = kind.of(v)
        density = law.log_density(torch.full((len(v), 1), y))
        assert density.dtype == torch.float32
        [slope] = torch.autograd.grad(density.sum(), v)
        assert torch.isfinite(density).all()
        assert torch.isfinite(slope).all() or dtype is torch.float16  # itself ends at 65504
    assert torch.isfinite(law.sample(3)).all()
    assert torch.isfinite(law.quantiles([0.1, 0.9])).all()


def test_single_precision_is_near_double(kind):
    v, y = features(kind, spread=4.0), values(kind)
    double, single = kind.of(v).log_density(y), kind.of(v.float()).log_density(y.float())
    torch.testing.assert_close(single.double(), double, rtol=2e-5, atol=2e-5)


def test_restored_it_is_the_law_in_other_units(kind):
    law, scale = kind.of(features(kind)), torch.tensor([3.0, 0.5], dtype=torch.float64)
    if kind.counts:
        restored = law.restored(0, scale)
        torch.testing.assert_close(restored.rate, scale * law.rate)
        torch.testing.assert_close(restored.dispersion, law.dispersion / scale.sqrt())
        with pytest.raises(InputError, match="scale alone"):
            law.restored(1.0, scale)
        return
    y = values(kind)
    restored = law.restored(7.0, scale).log_density(7 + scale * y)
    torch.testing.assert_close(restored, law.log_density(y) - scale.log())


def test_probabilities_of_counts_sum_to_1():
    law = NegativeBinomial(torch.tensor([0.3, 5.0]).double(), torch.tensor([2.0, 0.2]).double())
    counts = torch.arange(400.0).double()[:, None]
    torch.testing.assert_close(law.log_density(counts).exp().sum(0), torch.ones(2).double())


def test_quantiles_of_large_counts_are_those_of_scipy():
    rate = torch.tensor([1e-6, 40.0, 1e4, 1e5]).double()
    dispersion = torch.tensor([1e-4, 5.0, 1e-4, 0.1]).double()
    law = NegativeBinomial(rate, dispersion)
    wanted = np.stack([of_scipy(law).ppf(level) for level in LEVELS], -1)
    np.testing.assert_array_equal(law.quantiles(LEVELS), wanted)


def test_a_law_of_wrong_features_or_levels_is_refused():
    with pytest.raises(InputError, match="3 features"):
        Student.of(torch.zeros(2, 4))
    with pytest.raises(InputError, match="between 0 and 1"):
        Gaussian.of(torch.zeros(2, 4)).quantiles([0.0, 0.5])


def test_the_incomplete_beta_function_is_that_of_scipy():
    generator = np.random.default_rng(0)
    a, b = 10 ** generator.uniform(-3, 4, (2, 3000))
    x = generator.uniform(0, 1, 3000)
    x[:1000] = generator.beta(a[:1000].clip(0.1), b[:1000].clip(0.1))
    share = incomplete_beta(*map(torch.from_numpy, (a, b, x)))
    np.testing.assert_allclose(share, special.betainc(a, b, x), rtol=1e-8, atol=1e-12)


def test_quantiles_of_student_are_those_of_scipy():
    freedom = torch.tensor([1.0, 2.0, 2.1, 3.7, 30.0, 1e4, 1e7], dtype=torch.float64)[:, None]
    levels = torch.tensor([1e-6, *LEVELS, 0.49, 0.51, 1 - 1e-6], dtype=torch.float64)
    wanted = stats.t.ppf(levels.numpy(), freedom.numpy())
    np.testing.assert_allclose(student_quantile(freedom, levels), wanted, rtol=1e-7, atol=1e-9)

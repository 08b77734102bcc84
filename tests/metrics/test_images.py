"""Measures of images against closed forms."""

import pytest
import torch

from saiki.metrics.images import (
    frechet_distance,
    nearest_distances,
    share_as_near,
    sharpness,
)


def test_sharpness_is_that_of_steps():
    x = torch.zeros(2, 1, 4, 4)
    assert sharpness(x) == 0
    x[..., 2:] = 1  # 4 steps right of 12, none of 12 down, in each image
    assert sharpness(x) == pytest.approx((8 / 48) ** 0.5)
    blurred = torch.nn.functional.avg_pool2d(torch.rand(3, 1, 30, 30), 3, 1)
    assert sharpness(blurred) < sharpness(torch.rand(3, 1, 30, 30))
    assert sharpness(torch.rand(2, 3, 1, 1)) == 0


def test_the_distance_of_gaussians_is_the_closed_form():
    a = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0))
    a = (a - a.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(a.T.cov())).T
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    scale, shift = torch.tensor([2.0, 0.5, 1.0]), torch.tensor([1.0, -2.0, 0.0])
    # of diagonal ones: (shift)² + Σ (s − 1)²
    assert frechet_distance(a, a * scale + shift) == pytest.approx(5 + 1 + 0.25, rel=1e-5)
    turned = a @ torch.linalg.qr(torch.randn(3, 3)).Q
    assert frechet_distance(a, turned) == pytest.approx(0, abs=1e-5)


def test_features_that_never_change_are_no_trouble():
    a, b = torch.zeros(5, 4), torch.ones(7, 4)
    assert frechet_distance(a, b) == pytest.approx(4)
    assert frechet_distance(torch.zeros(3, 1), torch.ones(3, 1)) == pytest.approx(1)


def test_the_nearest_of_many_is_found_a_part_at_a_time(monkeypatch):
    random = torch.Generator().manual_seed(0)
    x = torch.rand(30, 3, 4, 5, generator=random)
    others = torch.randint(0, 256, (41, 3, 4, 5), generator=random, dtype=torch.uint8)
    wanted = (x[:, None] - others[None] / 255).square().sum((2, 3, 4)).sqrt().amin(1)
    for chunk in (2**24, 200):
        monkeypatch.setattr("saiki.metrics.images.CHUNK", chunk)
        torch.testing.assert_close(nearest_distances(x, others), wanted)


def test_as_near_is_by_the_distance_of_the_nearest_19_in_20():
    others = torch.zeros(1, 1)
    known = torch.linspace(0, 1, 101)[:, None]
    new = torch.tensor([[0.2], [0.94], [0.96], [3.0]])
    assert share_as_near(new, known, others) == 0.5
    assert share_as_near(known, known, others) == pytest.approx(96 / 101)

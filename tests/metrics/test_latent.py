import torch

from saiki.metrics.latent import active_units


def test_a_unit_is_active_whose_mean_differs_from_example_to_example():
    sign = torch.tensor([1.0, -1.0]).repeat(50)
    means = torch.stack([5 + 0 * sign, 0.11 * sign, 0.09 * sign, 3 * sign], 1)
    assert active_units(means) == 2
    assert active_units(means[:1]) == 0

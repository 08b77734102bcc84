import math

import pytest
import torch

from saiki import InputError
from saiki.initialise import initialise_


def filled(shape, scheme, scale=1.0, gates=1):
    """The blocks of a float64 weight, each ``shape``, filled by ``scheme``."""
    torch.manual_seed(0)
    weight = torch.full((gates * shape[0], shape[1]), math.nan, dtype=torch.float64)
    initialise_(weight, scheme, scale, gates)
    return weight.view(gates, *shape)


# 12,000 draws a block put a standard deviation within 2 percent of its true value (3 sigma).


def test_normal_has_the_scale_as_standard_deviation():
    for block in filled((80, 150), "normal", scale=0.3, gates=3):
        assert block.mean().item() == pytest.approx(0, abs=0.01)
        assert block.std().item() == pytest.approx(0.3, rel=0.02)


def test_he_has_twice_the_inverse_of_the_inputs_as_variance():
    for block in filled((80, 150), "he", scale=1.5, gates=3):
        assert block.mean().item() == pytest.approx(0, abs=0.01)
        assert block.std().item() == pytest.approx(1.5 * math.sqrt(2 / 150), rel=0.02)


def test_he_is_normal():
    (block,) = filled((80, 150), "he")
    kurtosis = (block**4).mean() / (block**2).mean() ** 2
    assert kurtosis.item() == pytest.approx(3, rel=0.06)  # 1.8 for a uniform distribution


def test_xavier_is_uniform_up_to_its_bound_for_one_gate():
    bound = 1.5 * math.sqrt(6 / (150 + 80))
    for block in filled((80, 150), "xavier", scale=1.5, gates=3):
        assert 0.999 * bound < block.abs().max() <= bound
        assert block.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)


@pytest.mark.parametrize("shape", [(7, 7), (9, 5), (5, 9)])
def test_orthogonal_is_a_scaled_isometry_in_each_gate(shape):
    for block in filled(shape, "orthogonal", scale=1.5, gates=3):
        small = block.T @ block if shape[0] > shape[1] else block @ block.T
        torch.testing.assert_close(small, 1.5**2 * torch.eye(min(shape), dtype=torch.float64))


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
def test_identity_passes_each_unit_on_in_each_gate(shape):
    for block in filled(shape, "identity", scale=0.5, gates=2):
        i, j = torch.meshgrid(*map(torch.arange, shape), indexing="ij")
        assert torch.equal(block, 0.5 * (i == j).double())


@pytest.mark.parametrize("scheme", ["normal", "xavier", "he", "orthogonal"])
def test_gates_are_drawn_independently(scheme):
    first, second = filled((30, 30), scheme, gates=2)
    correlation = torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1]
    assert correlation.abs() < 0.1  # three standard errors of 900 draws


def test_fills_a_parameter_in_place():
    weight = torch.nn.Parameter(torch.zeros(4, 4))
    initialise_(weight, "identity", 2.0)
    assert torch.equal(weight.detach(), 2 * torch.eye(4))
    assert weight.requires_grad


def test_unknown_scheme_is_refused_with_the_names_there_are():
    with pytest.raises(InputError, match="no initialisation 'glorot'; there are normal, xavier"):
        initialise_(torch.zeros(4, 4), "glorot")

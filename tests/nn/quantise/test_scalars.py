"""Finite scalar quantisation beside vector-quantize-pytorch, and its parts."""

import pytest
import torch

from saiki.errors import InputError
from saiki.nn import ScalarQuantizer

theirs = pytest.importorskip("vector_quantize_pytorch")


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (3, 4), (7,), (16, 15)])
def test_vectors_codes_and_gradients_are_theirs(levels):
    ours, other = ScalarQuantizer(levels), theirs.FSQ(list(levels))
    z = (3 * torch.randn(4, 50, len(levels))).requires_grad_()
    also = z.detach().clone().requires_grad_()
    y, (q, codes) = ours(z), other(also)
    assert torch.allclose(y.vectors, q, atol=1e-6)
    assert torch.equal(y.codes[..., 0], codes.long())
    weights = torch.randn_like(q)
    (y.vectors * weights).sum().backward()
    (q * weights).sum().backward()
    assert torch.allclose(z.grad, also.grad, atol=1e-5)
    assert torch.allclose(ours.decode(y.codes), y.vectors, atol=1e-6)
    assert torch.equal(ours.encode(z), y.codes)


@pytest.mark.parametrize("levels", [(2, 2), (256,), (5, 4, 3)])
def test_every_code_can_be_given(levels):
    quantizer = ScalarQuantizer(levels)
    codes = torch.arange(quantizer.codes)[:, None]
    assert quantizer(torch.randn(4, len(levels))).loss == 0
    line = torch.linspace(-12, 12, 200_001)
    for i, each in enumerate(levels):
        z = torch.zeros(len(line), len(levels))
        z[:, i] = line
        assert len(quantizer(z).vectors[:, i].unique()) == each
    assert len(quantizer.decode(codes).unique(dim=0)) == quantizer.codes


def test_vectors_of_codes_have_the_type_of_the_model():
    quantizer = ScalarQuantizer((8, 5)).double()
    y = quantizer(torch.randn(6, 2, dtype=torch.float64))
    assert torch.equal(quantizer.decode(y.codes), y.vectors)
    assert quantizer.state_dict() == {}


def test_zero_stays_zero():
    quantizer = ScalarQuantizer((2, 3, 4, 5, 256))
    assert torch.equal(quantizer(torch.zeros(1, 5)).vectors, torch.zeros(1, 5))


@pytest.mark.parametrize(
    ("levels", "message"),
    [((), "levels must be from 2"), ((1, 3), "from 2 to 256"), ((256,) * 3, "1,048,576 codes")],
)
def test_levels_that_are_not_allowed_are_said(levels, message):
    with pytest.raises(InputError, match=message):
        ScalarQuantizer(levels)

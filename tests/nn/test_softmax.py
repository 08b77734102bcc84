"""The probability of one class, beside the whole softmax."""

import pytest
import torch
from torch.nn import functional as F

from saiki.nn import softmax
from saiki.nn.softmax import log_likelihood


@pytest.fixture
def parts():
    torch.manual_seed(0)
    h, weight = torch.randn(7, 5), torch.randn(11, 5)
    parts = [t.double().requires_grad_() for t in (h, weight, torch.randn(11))]
    return *parts, torch.tensor([0, 10, 3, 3, 5, 1, 0])


def whole(h, weight, bias, classes):
    return F.log_softmax(F.linear(h, weight, bias), -1).gather(1, classes[:, None])[:, 0]


@pytest.mark.parametrize("rows", [1, 3, 256])
def test_is_one_of_the_whole_softmax_with_its_gradients(parts, rows, monkeypatch):
    monkeypatch.setattr(softmax, "ROWS", rows)
    *inputs, classes = parts
    ours, wanted = log_likelihood(*inputs, classes), whole(*inputs, classes)
    torch.testing.assert_close(ours, wanted)
    by = torch.randn(7, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(ours, inputs, by), torch.autograd.grad(wanted, inputs, by), strict=True
    ):
        torch.testing.assert_close(a, b)
    assert torch.autograd.gradcheck(lambda *tensors: log_likelihood(*tensors, classes), inputs)


def test_scores_beyond_all_exponentials_are_borne(parts):
    h, weight, bias, classes = parts
    log_p = log_likelihood(1e4 * h.float(), weight.float(), bias.float(), classes)
    assert torch.isfinite(log_p).all()
    torch.testing.assert_close(log_p, whole(1e4 * h.float(), weight.float(), bias.float(), classes))


def test_nothing_is_kept_where_no_gradient_is_wanted(parts, monkeypatch):
    monkeypatch.setattr(softmax, "ROWS", 2)
    h, weight, bias, classes = parts
    with torch.no_grad():
        torch.testing.assert_close(log_likelihood(*parts), whole(*parts))
    frozen = log_likelihood(h.detach(), weight.detach(), bias.detach(), classes)
    assert not frozen.requires_grad
    torch.testing.assert_close(frozen, whole(*parts).detach())


def test_half_precision_is_summed_in_single(parts):
    h, weight, bias, classes = (t.detach() for t in parts)
    with torch.autocast("cpu", torch.bfloat16):
        log_p = log_likelihood(h.float(), weight.float(), bias.float(), classes)
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p.double(), whole(h, weight, bias, classes), rtol=0.05, atol=0.2)


def test_its_gradient_has_one(parts):
    *inputs, classes = parts
    assert torch.autograd.gradgradcheck(lambda *tensors: log_likelihood(*tensors, classes), inputs)

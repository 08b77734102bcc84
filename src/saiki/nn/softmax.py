"""A softmax over many classes of which the probability of one is wanted."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from saiki.nn.precision import at_least_float32

ROWS = 256
"""Rows whose scores are computed together: few enough to stay in the caches of a CPU."""


def log_likelihood(h: Tensor, weight: Tensor, bias: Tensor, classes: Tensor) -> Tensor:
    """ln p of one class for each row, ``(rows,)``, where p = softmax(W h + b).

    The same as taking it out of ``log_softmax(linear(h, weight, bias))``, in a fraction of the
    memory: p is kept in place of the scores, and nothing at all where no gradient is wanted.

    Args:
        h: ``(rows, features)``.
        weight: W, ``(all classes, features)``.
        bias: b, ``(all classes,)``.
        classes: the one of each row, ``(rows,)``.
    """
    if torch.is_autocast_enabled(h.device.type) or not h.dtype == weight.dtype == bias.dtype:
        scores = at_least_float32(F.linear(h, weight, bias))
        return F.log_softmax(scores, -1).gather(1, classes[:, None])[:, 0]
    log_p: Tensor = _LogLikelihood.apply(h, weight, bias, classes)
    return log_p


class _LogLikelihood(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor, classes: Tensor) -> Tensor:
        wants_gradient = any(ctx.needs_input_grad)
        probabilities = h.new_empty(len(h) if wants_gradient else min(ROWS, len(h)), len(weight))
        log_p = h.new_empty(len(h))
        for at in range(0, len(h), ROWS):
            rows = slice(at, at + ROWS)
            count = len(h[rows])
            p = probabilities[rows] if wants_gradient else probabilities[:count]
            torch.addmm(bias, h[rows], weight.t(), out=p)
            largest = p.amax(1, keepdim=True)
            own = p.gather(1, classes[rows, None])
            total = p.sub_(largest).exp_().sum(1, keepdim=True)
            torch.sub(own - largest, total.log(), out=log_p[rows, None])
            if wants_gradient:
                p.div_(total)
        if wants_gradient:
            ctx.save_for_backward(h, weight, bias, classes, probabilities)
        return log_p

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        h, weight, bias, classes, probabilities = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient of the gradient is wanted, too
            p = F.linear(h, weight, bias).softmax(-1)
            of_scores = gradient[:, None] * (F.one_hot(classes, len(bias)) - p)
            return of_scores @ weight, of_scores.t() @ h, of_scores.sum(0), None
        of_h, of_weight = torch.empty_like(h), torch.zeros_like(weight)
        of_bias = torch.zeros_like(bias)
        for at in range(0, len(h), ROWS):
            rows = slice(at, at + ROWS)
            of_scores = probabilities[rows] * -gradient[rows, None]
            of_scores.scatter_add_(1, classes[rows, None], gradient[rows, None])
            torch.mm(of_scores, weight, out=of_h[rows])
            of_weight.addmm_(of_scores.t(), h[rows])
            of_bias += of_scores.sum(0)
        return of_h, of_weight, of_bias, None

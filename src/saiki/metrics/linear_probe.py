"""What a linear layer can read out of features (Alain & Bengio 2016, arXiv 1610.01644)."""

import torch
from torch import Tensor
from torch.nn import functional as F

ITERATIONS = 60


def linear_probe(
    features: Tensor, labels: Tensor, classes: int, decay: float = 1e-3
) -> tuple[Tensor, Tensor]:
    """The weight ``(classes, size)`` and bias ``(classes,)`` of a softmax layer that tells classes
    by features: those that minimise the cross-entropy plus ``decay``/2 |W|², found by L-BFGS, with
    every feature brought to mean 0 and variance 1 meanwhile.

    Args:
        features: ``(examples, size)``.
        labels: the number of the class of each, ``(examples,)``.
    """
    mean, scale = features.mean(0), features.std(0, correction=0).clamp(min=1e-6)
    x = (features - mean) / scale
    W = x.new_zeros(classes, x.shape[1]).requires_grad_()
    b = x.new_zeros(classes).requires_grad_()
    search = torch.optim.LBFGS([W, b], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        with torch.enable_grad():
            value = F.cross_entropy(x @ W.T + b, labels) + decay / 2 * W.square().sum()
            value.backward()
        return value

    search.step(loss)
    weight = W.detach() / scale
    return weight, b.detach() - weight @ mean

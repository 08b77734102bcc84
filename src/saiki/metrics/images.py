"""Measures of images, and of many of them beside many others."""

import torch
from torch import Tensor

CHUNK = 2**24
"""Values of images that are compared at once."""


def sharpness(images: Tensor) -> float:
    """How steep contours are: the root of the mean square of the differences between neighbouring
    values, down and to the right.

    Args:
        images: ``(images, channels, height, width)``, from 0 to 1.
    """
    down, right = images.diff(dim=-2), images.diff(dim=-1)
    squares = down.square().sum().double() + right.square().sum().double()
    return float((squares / max(1, down.numel() + right.numel())).sqrt())


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """How far two sets of examples are from each other, each taken as a Gaussian of its features
    (Heusel et al. 2017, arXiv 1706.08500, eq. 6):

    |μₐ − μ_b|² + tr(Σₐ + Σ_b − 2 (Σₐ Σ_b)^½)

    Args:
        a: features of one set, ``(examples, size)``, of 2 examples or more.
        b: of the other.

    >>> x = torch.randn(50, 3)
    >>> round(abs(frechet_distance(x, x + 2.0)), 6)
    12.0
    """
    a, b = a.double(), b.double()
    mean = (a.mean(0) - b.mean(0)).square().sum()
    first, second = torch.atleast_2d(a.T.cov()), torch.atleast_2d(b.T.cov())
    # (Σₐ Σ_b)^½ has the trace of (Σₐ^½ Σ_b Σₐ^½)^½, which is symmetric
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    shared = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return float(mean + first.trace() + second.trace() - 2 * shared)


def nearest_distances(images: Tensor, others: Tensor) -> Tensor:
    """How far each image is from the nearest of the others, ``(images,)``: the root of the sum of
    the squared differences.

    Args:
        images: ``(images, *shape)``, from 0 to 1.
        others: ``(others, *shape)``, from 0 to 1 or in bytes.
    """
    x = images.flatten(1).float()
    nearest = torch.full((len(x),), torch.inf)
    for part in others.split(max(1, CHUNK // x.shape[1])):
        y = part.flatten(1).float()
        y = y if others.is_floating_point() else y / 255
        nearest = torch.minimum(nearest, torch.cdist(x, y).amin(1))
    return nearest


def share_as_near(new: Tensor, known: Tensor, others: Tensor, level: float = 0.95) -> float:
    """The share of new images that are as near to one of the others as the nearest ``level`` of the
    known ones are; see :func:`nearest_distances`.

    >>> known = torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None]
    >>> share_as_near(torch.tensor([[0.25], [0.6]]), known, torch.zeros(1, 1), level=1)
    0.5
    """
    bound = nearest_distances(known, others).quantile(level)
    return (nearest_distances(new, others) <= bound).double().mean().item()

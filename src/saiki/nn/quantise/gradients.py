"""How a gradient passes a choice that has none."""

import torch
from torch import Tensor
from torch.nn import functional as F


def straight_through(z: Tensor, q: Tensor) -> Tensor:
    """q, whose gradient goes to z as it is (Bengio, Léonard & Courville 2013, §4).

    y = q + z − sg(z), where sg stops the gradient: the numbers of q to the last bit.
    """
    return q.detach() + (z - z.detach())


def rotated(z: Tensor, q: Tensor) -> Tensor:
    """q, as z rotated and scaled to it, so that the gradient tells where in its region of the space
    z lies (the rotation trick; Fifty et al. 2024, arXiv 2410.06424, §4.2).

    With ẑ = z/|z|, q̂ = q/|q| and w = (ẑ + q̂)/|ẑ + q̂|, of which no gradient is taken,

    y = |q|/|z| (z − 2 w wᵀz + 2 q̂ ẑᵀz)

    and the numbers are those of q. Shapes are ``(…, size)``; a z that is 0 gets no gradient.
    """
    q = q.detach()
    with torch.no_grad():
        a, b = F.normalize(z, dim=-1), F.normalize(q, dim=-1)
        w = F.normalize(a + b, dim=-1)
        length = torch.linalg.vector_norm(z, dim=-1, keepdim=True)
        scale = torch.linalg.vector_norm(q, dim=-1, keepdim=True) / length.clamp(min=1e-12)
        scale = scale * (length > 0)
    along_w, along_a = (w * z).sum(-1, keepdim=True), (a * z).sum(-1, keepdim=True)
    return straight_through(scale * (z - 2 * along_w * w + 2 * along_a * b), q)


GRADIENTS = {"straight-through": straight_through, "rotation": rotated}
"""By the names that :class:`saiki.nn.VectorQuantizer` takes."""

"""Initial values of weight matrices, gate by gate."""

import math

import torch
from torch import Tensor, nn

from saiki.errors import InputError

SCHEMES = ("normal", "xavier", "he", "orthogonal", "identity")


@torch.no_grad()
def initialise_(weight: Tensor, scheme: str, scale: float = 1.0, gates: int = 1) -> Tensor:
    """Fill ``weight``, ``(gates · out, in)``, in place, each gate's block by itself.

    ================  ==============================================================================
    ``normal``        N(0, scale²)
    ``xavier``        U(−a, a), a = scale · √(6 / (in + out))  (Glorot & Bengio 2010, eq. 16)
    ``he``            N(0, scale² · 2 / in)  (He et al. 2015, eq. 10)
    ``orthogonal``    scale · Q with QᵀQ = 1  (Saxe et al. 2014)
    ``identity``      scale · 1  (Le, Jaitly & Hinton 2015, §2)
    ================  ==============================================================================
    """
    for block in weight.chunk(gates):
        match scheme:
            case "normal":
                block.normal_(0.0, scale)
            case "xavier":
                nn.init.xavier_uniform_(block, scale)
            case "he":
                block.normal_(0.0, scale * math.sqrt(2 / block.shape[1]))
            case "orthogonal":
                nn.init.orthogonal_(block, scale)
            case "identity":
                nn.init.eye_(block).mul_(scale)
            case _:
                raise InputError(f"no initialisation {scheme!r}; there are {', '.join(SCHEMES)}")
    return weight

"""Where half precision is not enough."""

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision made single, for numbers that positions or exponentials are made of."""
    return x.to(torch.promote_types(x.dtype, torch.float32))

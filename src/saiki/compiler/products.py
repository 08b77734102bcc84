"""The large products in front of the loops and behind them.

They are PyTorch's, which hands products of float32 to MKL. On AMD processors with AVX-512, MKL
takes its path for AVX2 and is half as fast as oneDNN, the other library that PyTorch holds; there
they are given to oneDNN, in float32 as well.
"""

from functools import cache

import torch
from llvmlite import binding
from torch import Tensor

LEAST = 1 << 18
"""Multiplications for which finding oneDNN's kernel takes no time to speak of."""


@cache
def _onednn_is_faster() -> bool:
    return (
        binding.get_host_cpu_name().startswith("znver")
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of matrices ``(m, k)`` and ``(k, n)``, as PyTorch multiplies them fastest."""
    if (
        a.dtype == torch.float32
        and a.shape[0] * a.shape[1] * b.shape[1] >= LEAST
        and torch.backends.mkldnn.enabled
        and _onednn_is_faster()
    ):
        rows, columns = _whole(a), _whole(b).T
        c: Tensor = torch.ops.mkldnn._linear_pointwise(rows, columns, None, "none", [], "")
        return c
    return torch.mm(a, b)


def _whole(x: Tensor) -> Tensor:
    """``x`` or, if it is some columns or rows of a larger matrix, for which oneDNN has slow kernels
    only, a copy."""
    return x if x.is_contiguous() or x.T.is_contiguous() else x.contiguous()

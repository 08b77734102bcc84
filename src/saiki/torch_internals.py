"""The names of PyTorch that are not promised to stay, in one place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.fx import traceback
from torch.nn.modules import module as _module

undisturbed = torch._disable_dynamo
"""Makes a function that ``torch.compile`` runs as it is, though it is called by one of its own."""


@contextmanager
def fx_state_kept() -> Iterator[None]:
    """What torch.fx notes about the node it traces at present, as it was, afterwards."""
    meta, preserve = dict(traceback.current_meta), traceback.should_preserve_node_meta
    try:
        yield
    finally:
        traceback.current_meta = meta
        traceback.should_preserve_node_meta = preserve


def is_batched(tensor: Tensor | None) -> bool:
    """Whether it stands for several tensors, under ``torch.func.vmap`` or what
    ``is_grads_batched`` does."""
    if tensor is None:
        return False
    functorch = torch._C._functorch
    return functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor)


def has_global_hooks() -> bool:
    """Whether hooks wait for every module there is to be called."""
    return bool(_module._has_any_global_hook())


def is_written() -> bool:
    """Whether ``torch.export`` or ``torch.jit.trace`` writes down what is done."""
    if torch.compiler.is_dynamo_compiling():
        return bool(torch.compiler.is_exporting())
    return bool(torch.compiler.is_exporting() or torch._C._is_tracing())

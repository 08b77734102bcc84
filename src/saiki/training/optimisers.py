"""What an optimiser remembers, taken from it and given back."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def settings(
    optimiser: torch.optim.Optimizer, names: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What an optimiser remembers: tensors by parameter and name, and the numbers beside them."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for i, state in optimiser.state_dict()["state"].items():
        for key, value in state.items():
            kind = tensors if isinstance(value, Tensor) else numbers
            kind[f"{names[i]}/{key}"] = value
    return tensors, numbers


def restore(
    optimiser: torch.optim.Optimizer,
    names: Sequence[str],
    tensors: dict[str, Tensor],
    numbers: dict[str, Any],
) -> None:
    """Give an optimiser back what :func:`settings` took from it."""
    numbered = {name: i for i, name in enumerate(names)}
    state: dict[int, dict[str, Any]] = {}
    for path, value in {**tensors, **numbers}.items():
        name, _, key = path.rpartition("/")
        state.setdefault(numbered[name], {})[key] = value
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})

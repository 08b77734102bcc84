"""Layers of ``torch.nn`` inside a model become ours, and back."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from saiki.errors import InputError
from saiki.nn.drop_in.cells import GRUCell, LSTMCell, RNNCell
from saiki.nn.drop_in.layers import GRU, LSTM, RNN

OURS: dict[type[nn.Module], type[nn.Module]] = {
    nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU,
    nn.RNNCell: RNNCell, nn.LSTMCell: LSTMCell, nn.GRUCell: GRUCell,
}  # fmt: skip
THEIRS = {ours: theirs for theirs, ours in OURS.items()}
NAMES = {kind.__name__ for kind in OURS}


def swap(model: nn.Module, back: bool = False) -> tuple[str, ...]:
    """Turn every recurrent layer and cell of ``torch.nn`` inside ``model`` into ours, in place.

    The modules themselves stay, and so do their parameters, hooks and places in the model: what an
    optimiser or a state dict holds remains valid. What may compute something else is left alone:
    subclasses, layers whose ``forward`` was replaced, scripted and quantised ones.

    Args:
        back: turn ours into those of ``torch.nn`` again.

    Returns:
        A line for each module that was changed, with its name and what it now is, and for each
        that was left alone, with the reason.

    Raises:
        InputError: a layer of ours has options that ``torch.nn`` lacks; nothing is changed then.

    >>> model = nn.Sequential(nn.Embedding(10, 3), nn.LSTM(3, 5))
    >>> swap(model)
    ('1: torch.nn.LSTM → saiki.nn.LSTM',)
    """
    kinds: dict[Any, Any] = THEIRS if back else OURS
    reasons = {name: _why_not(m, kinds) for name, m in model.named_modules()}
    modules = {name: model.get_submodule(name) for name, why in reasons.items() if why == ""}
    if back:
        for name, module in modules.items():
            if not module.is_plain:
                raise InputError(
                    f"{name or 'the model'} is {module}, and torch.nn has no such layer; swap back "
                    "only layers without options"
                )
    lines = []
    for name, why in reasons.items():
        if why is None:
            continue
        outcome = f"left alone, {why}" if why else _exchange(modules[name], kinds, back)
        lines.append(f"{name or 'the model'}: {outcome}")
    return tuple(lines)


@contextmanager
def swapped_in(model: nn.Module) -> Iterator[Mapping[str, str]]:
    """Layers of ``torch.nn`` inside ``model`` are ours within the block, and theirs again after it.

    Yields why each recurrent module stays what it is, if it is none of ours, and why single cells
    do, by its name.
    """
    modules = dict(model.named_modules())
    reasons = {name: _why_not(module, OURS) for name, module in modules.items()}
    cells = {name for name, module in modules.items() if isinstance(module, nn.RNNCellBase)}
    left_alone = {name: why for name, why in reasons.items() if why}
    left_alone |= dict.fromkeys(cells, _SINGLE)
    layers = [modules[name] for name, why in reasons.items() if why == "" and name not in cells]
    for layer in layers:
        _exchange(layer, OURS, back=False)
    try:
        yield left_alone
    finally:
        for layer in layers:
            _exchange(layer, THEIRS, back=True)


_SINGLE = "single steps in a loop of your own; a layer, such as saiki.nn.LSTM, is seen"


def _why_not(module: nn.Module, kinds: Mapping[Any, Any]) -> str | None:
    """Why a module that looks like one of ``kinds`` is none; "" if it is, None if it does not."""
    kind = type(module)
    if kind in kinds:
        return "its forward was replaced" if "forward" in vars(module) else ""
    base = next((base for base in kind.__mro__ if base in OURS or base in THEIRS), None)
    if base is not None:
        return f"a subclass of {_full(base)}" if base in kinds and kind not in THEIRS else None
    if kinds is THEIRS:
        return None
    if isinstance(module, torch.jit.ScriptModule):
        original = getattr(module, "original_name", "")
        return f"{original} in TorchScript" if original in NAMES else None
    quantised = kind.__module__.startswith("torch.ao.nn.") and kind.__name__ in NAMES
    return f"{kind.__module__}.{kind.__name__}" if quantised else None


def _exchange(module: Any, kinds: Mapping[Any, Any], back: bool) -> str:
    """Give a module its new class; what it was and is now."""
    old, new = type(module), kinds[type(module)]
    module.__class__ = new
    if back:
        for own in ATTRIBUTES:
            module.__dict__.pop(own, None)
    else:
        module._setup(new.defaults)
    return f"{_full(old)} → {_full(new)}"


def _full(kind: type) -> str:
    return f"{'saiki' if kind in THEIRS else 'torch'}.nn.{kind.__name__}"


ATTRIBUTES = (
    "options",
    "merge",
    "recurrent_dropout",
    "zoneout",
    "backend",
    "_saiki_built",
    "_meta",
    "_saiki_given",
)
"""Attributes that ours have beside those of ``torch.nn``."""

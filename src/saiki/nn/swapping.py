"""Layers of ``torch.nn`` inside a model become ours, and back."""

from typing import Any

from torch import nn

from saiki.errors import InputError
from saiki.nn.cells import GRUCell, LSTMCell, RNNCell
from saiki.nn.recurrent import GRU, LSTM, RNN

OURS: dict[type[nn.Module], type[nn.Module]] = {
    nn.RNN: RNN, nn.LSTM: LSTM, nn.GRU: GRU,
    nn.RNNCell: RNNCell, nn.LSTMCell: LSTMCell, nn.GRUCell: GRUCell,
}  # fmt: skip
THEIRS = {ours: theirs for theirs, ours in OURS.items()}


def swap(model: nn.Module, back: bool = False) -> tuple[str, ...]:
    """Turn every recurrent layer and cell of ``torch.nn`` inside ``model`` into ours, in place.

    The modules themselves stay, and so do their parameters, hooks and places in the model: what an
    optimiser or a state dict holds remains valid. Subclasses of those of ``torch.nn`` are left
    alone, since they may do something else.

    Args:
        back: turn ours into those of ``torch.nn`` again.

    Returns:
        What was changed, a line for each: the name of the module and what it now is.

    Raises:
        InputError: a layer of ours has options that ``torch.nn`` lacks; nothing is changed then.

    >>> model = nn.Sequential(nn.Embedding(10, 3), nn.LSTM(3, 5))
    >>> swap(model)
    ('1: torch.nn.LSTM → saiki.nn.LSTM',)
    """
    kinds: dict[Any, Any] = THEIRS if back else OURS
    found = {name: m for name, m in model.named_modules() if type(m) in kinds}
    if back:
        for name, module in found.items():
            if not module.is_plain:
                raise InputError(
                    f"{name or 'the model'} is {module}, and torch.nn has no such layer; swap back "
                    "only layers without options"
                )
    lines = []
    for name, module in found.items():
        old, new = type(module), kinds[type(module)]
        module.__class__ = new
        if back:
            for own in OWN:
                module.__dict__.pop(own, None)
        else:
            module._setup(new.defaults)
        lines.append(f"{name or 'the model'}: {_full(old)} → {_full(new)}")
    return tuple(lines)


def _full(kind: type) -> str:
    return f"{'saiki' if kind in THEIRS else 'torch'}.nn.{kind.__name__}"


OWN = ("options", "merge", "recurrent_dropout", "zoneout", "backend", "_built", "_meta", "_given")
"""Attributes that ours have beside those of ``torch.nn``."""

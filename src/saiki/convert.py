"""Layers and weights from Keras 3.

Keras keeps a kernel as (in, gates · hidden), the gates side by side; ``W`` and ``U`` here are its
transpose. The gates of the LSTM have the same order, i, f, g (c there), o; those of the GRU are
z, r, n there and r, z, n here. With ``reset_after=True`` its bias is (2, 3 · hidden), one row for
the input and one for the state. Those of r and z add up to one; n keeps both:

    b_r = b_r,in + b_r,state    b_z = b_z,in + b_z,state    b_n = b_n,in    b′ = b_n,state
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saiki import activations
from saiki.cell import Cell
from saiki.cells import GRU, LSTM, SimpleRNN
from saiki.errors import InputError
from saiki.keras_file import Saved, read
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Layer, Stack

_GATES: dict[type, int] = {SimpleRNN: 1, GRU: 3, LSTM: 4}
_MERGES: dict[str | None, Any] = {"concat": "concat", "sum": "sum", "ave": "mean", "mul": "mul"}
_ACTIVATIONS: dict[str, activations.Function] = {
    **activations.CATALOGUE,
    "linear": activations.get("identity"),
    "leaky_relu": activations.get("leaky_relu", alpha=0.2),
}
"""What Keras calls them; those it does not have are never met."""


def from_keras(layer: Any) -> Layer:
    """The layer here that computes what a built Keras 3 layer computes at inference.

    =====================================================  ==================================
    ``SimpleRNN``, ``LSTM``, ``GRU``, ``RNN`` of one cell  :class:`saiki.Recurrent`
    ``Bidirectional`` around one of these                  :class:`saiki.Bidirectional`
    ``RNN`` of a list of cells, ``Sequential``             :class:`saiki.Stack`
    =====================================================  ==================================

    The dtype is that of the Keras weights. Outputs are always those of every step, and the state
    always comes with them, whatever ``return_sequences`` and ``return_state`` say. A layer with
    ``go_backwards=True`` becomes ``reverse=True``: Keras returns its outputs in the order in which
    it read the steps, the last first, and here they stay in the order of ``x``; a layer on top
    reads them in Keras' order in both. ``stateful`` is left behind: pass the state of one call to
    the next. So is dropout, that of layers and that of ``Dropout`` between them.

    Raises:
        InputError: the layer is not built, not among those above, or has a ``merge_mode``, a
            direction or an activation that has no equal here.
    """
    try:
        keras = importlib.import_module("keras")
    except ImportError:
        raise InputError("from_keras needs Keras 3: pip install 'saiki[keras]'") from None
    if int(keras.__version__.split(".")[0]) < 3:
        raise InputError(f"from_keras needs Keras 3, and Keras {keras.__version__} is installed")
    return _convert(keras, layer, False)[0]


def _convert(keras: Any, layer: Any, flipped: bool) -> tuple[Layer, bool]:
    """The layer's equal, and whether Keras returns its outputs from the last step to the first.

    ``flipped`` says whether it is given its inputs so.
    """
    own = keras.layers
    if type(layer) is keras.Sequential:
        parts: list[nn.Module] = []
        for lower in layer.layers:
            if type(lower) is not own.Dropout:  # a subclass may act at inference too
                part, flipped = _convert(keras, lower, flipped)
                parts.append(part)
        return Stack(parts), flipped
    if type(layer) is own.Bidirectional:
        if layer.merge_mode not in _MERGES:
            raise InputError(
                f"merge_mode must be one of {', '.join(map(str, _MERGES))}, got {layer.merge_mode}"
            )
        forward, flipped_after = _convert(keras, layer.forward_layer, flipped)
        backward, _ = _convert(keras, layer.backward_layer, flipped)
        if not (isinstance(forward, Recurrent) and isinstance(backward, Recurrent)):
            raise InputError("Bidirectional takes layers of one cell, got an RNN of several")
        if forward.reverse:
            raise InputError(
                f"the forward layer of {layer.name!r} reads from the last step to the first; "
                "only the backward layer may"
            )
        return Bidirectional(forward, _MERGES[layer.merge_mode], backward), flipped_after
    if type(layer) in (own.RNN, own.SimpleRNN, own.LSTM, own.GRU):
        reverse = flipped != layer.go_backwards
        if type(layer.cell) is own.StackedRNNCells:
            of_cells = [_recurrent(keras, cell, reverse, layer.name) for cell in layer.cell.cells]
            return Stack(of_cells), reverse
        return _recurrent(keras, layer.cell, reverse, layer.name), reverse
    raise InputError(
        "from_keras takes SimpleRNN, LSTM, GRU, RNN of their cells, Bidirectional or Sequential "
        f"of these, got {type(layer).__name__}"
    )


def _recurrent(keras: Any, keras_cell: Any, reverse: bool, name: str) -> Recurrent:
    """A layer with the equations and weights of the Keras cell of the layer ``name``."""
    own = keras.layers
    if type(keras_cell) not in (own.SimpleRNNCell, own.LSTMCell, own.GRUCell):
        raise InputError(
            "from_keras takes the cells SimpleRNNCell, LSTMCell and GRUCell, got "
            f"{type(keras_cell).__name__} in {name!r}"
        )
    if not keras_cell.built:
        raise InputError(f"{name!r} is not built: call it on an input, or its build, first")
    variables = [keras_cell.kernel, keras_cell.recurrent_kernel]
    if keras_cell.use_bias:
        variables.append(keras_cell.bias)
    arrays = [keras.ops.convert_to_numpy(variable.value) for variable in variables]
    settings: dict[str, Any] = {
        "activation": _activation(keras, keras_cell.activation),
        "bias": keras_cell.use_bias,
    }
    if type(keras_cell) is not own.SimpleRNNCell:
        settings["recurrent_activation"] = _activation(keras, keras_cell.recurrent_activation)
    if type(keras_cell) is own.GRUCell:
        settings["reset"] = "after" if keras_cell.reset_after else "before"
    families = {own.SimpleRNNCell: SimpleRNN, own.LSTMCell: LSTM, own.GRUCell: GRU}
    cell = families[type(keras_cell)](arrays[0].shape[0], keras_cell.units, **settings)
    layer = Recurrent(cell.to(getattr(torch, arrays[0].dtype.name)), reverse)
    cell.load_state_dict(_values(cell, arrays, repr(name)))
    return layer


def _activation(keras: Any, function: Any) -> activations.Function:
    known = {name: f for name, f in _ACTIVATIONS.items() if hasattr(keras.activations, name)}
    for each, ours in known.items():
        if function is getattr(keras.activations, each):
            return ours
    name = getattr(function, "__qualname__", type(function).__qualname__)
    raise InputError(f"an activation must be Keras' own {', '.join(known)}, got {name}")


def load_keras(layer: Layer, path: str | Path, name: str | None = None) -> None:
    """Fill ``layer`` with weights from a ``.weights.h5`` or ``.keras`` file of Keras 3.

    Only arrays are read, and no settings, so ``layer`` must have those of the Keras layer:
    activations, direction and merge, and ``reset`` of a GRU without bias. The weights keep the
    dtype and the device of ``layer``. Nothing is written unless everything fits. A
    :class:`saiki.Stack` takes a whole model, in which what is not recurrent is passed over, or an
    ``RNN`` of several cells. Where its order cannot be known, since the file orders layers only
    within one class, fill its ``layers`` one by one.

    Args:
        layer: a Recurrent, Bidirectional or Stack of built-in cells.
        name: the layer of the file, by its path there or its Keras name; not needed where only
            one is of the kind of ``layer``.

    Raises:
        InputError: the file is missing, broken or not of this form, ``name`` does not choose one
            layer of it, or that layer is of another kind or has other shapes.
    """
    if not isinstance(layer, Recurrent | Bidirectional | Stack):
        raise InputError(f"load_keras fills a recurrent layer, got {type(layer).__name__}")
    layers = read(Path(path))
    fitting = {key: cells for key, saved in layers.items() if (cells := _cells(layer, saved))}
    if name is None:
        wanted, chosen = _describe(layer), list(fitting)
    else:
        named = [key for key, saved in layers.items() if saved.name == name]
        wanted, chosen = f"layer {name!r}", [name] if name in layers else named
    if len(chosen) != 1:
        problem = f"more than one {wanted}; name one:" if chosen else f"no {wanted}, only"
        raise InputError(f"{path} holds {problem} {', '.join(map(str, layers.values()))}")
    if chosen[0] not in fitting:
        raise InputError(f"{layers[chosen[0]]} of {path} does not fit a {_describe(layer)}")
    values = [(c, _values(c, saved.arrays, saved.path)) for c, saved in fitting[chosen[0]]]
    for cell, of_cell in values:
        cell.load_state_dict(of_cell)


def _cells(layer: nn.Module, saved: Saved) -> list[tuple[Cell, Saved]]:
    """Each cell of ``layer`` with what is saved of it; none if the kinds differ."""
    parts = _parts(layer)
    if _kind(layer) != saved.kind or len(parts) != len(saved.parts):
        return []
    if isinstance(layer, Recurrent):
        return [(layer.cell, saved)]
    by_part = [_cells(part, of_part) for part, of_part in zip(parts, saved.parts, strict=True)]
    return [pair for cells in by_part for pair in cells] if all(by_part) else []


def _parts(layer: nn.Module) -> list[nn.Module]:
    """The parts in the order of :class:`Saved`."""
    if isinstance(layer, Bidirectional):
        return [layer.forward_layer, layer.backward_layer]
    return sorted(layer.layers, key=_kind) if isinstance(layer, Stack) else []


def _kind(layer: nn.Module) -> str:
    kind = type(layer.cell if isinstance(layer, Recurrent) else layer)
    if kind not in (*_GATES, Bidirectional, Stack):
        raise InputError(f"load_keras fills SimpleRNN, LSTM and GRU, got {kind.__name__}")
    return kind.__name__


def _describe(layer: nn.Module) -> str:
    kinds = ", ".join(_kind(part) for part in _parts(layer))
    return f"{_kind(layer)} of {kinds}" if kinds else _kind(layer)


def _values(cell: Cell, arrays: Sequence[np.ndarray], source: str) -> dict[str, Tensor]:
    """The parameters of ``cell`` from Keras' kernel, recurrent kernel and, if any, bias.

    Raises:
        InputError: Keras has no such cell, or the arrays have other shapes.
    """
    own = dict(cell.named_parameters())
    lstm = isinstance(cell, LSTM)
    if lstm and not (
        cell.gates == list("ifgo")
        and cell.input_activation
        and cell.output_activation
        and own.keys() <= {"W.weight", "U.weight", "b"}
    ):
        raise InputError("Keras has the LSTM with all gates and activations and nothing added")
    after = isinstance(cell, GRU) and cell.reset == "after"
    width = _GATES[type(cell)] * cell.hidden_size
    wanted: list[tuple[int, ...]] = [(cell.input_size, width), (cell.hidden_size, width)]
    if len(own) > 2:
        wanted.append((2, width) if after else (width,))
    shapes = [array.shape for array in arrays]
    if shapes != wanted:
        raise InputError(
            f"the arrays of {source} have the shapes {shapes}, and this {type(cell).__name__} "
            f"needs {wanted}"
        )
    blocks = [torch.from_numpy(array.astype(np.float64)) for array in arrays]
    if isinstance(cell, GRU):
        z_r_n = (block.chunk(3, -1) for block in blocks)
        blocks = [torch.cat((r, z, n), -1) for z, r, n in z_r_n]
    values = {"W.weight": blocks[0].T, "U.weight": blocks[1].T}
    if len(blocks) == 3 and after:
        of_input, of_state = blocks[2]
        r_z, n = of_state.split([2 * cell.hidden_size, cell.hidden_size])
        values |= {"W.bias": of_input + torch.cat((r_z, torch.zeros_like(n))), "b": n}
    elif len(blocks) == 3:
        values["b" if lstm else "W.bias"] = blocks[2]
    return values

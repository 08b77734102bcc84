"""From the RNN, LSTM and GRU nodes of an ONNX file to layers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saiki import activations
from saiki.activations import Function
from saiki.cell import Cell
from saiki.cells import GRU, LSTM, SimpleRNN
from saiki.errors import InputError
from saiki.export import constants
from saiki.export.functions import Clipped, from_onnx, parse
from saiki.export.translate import require
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent

_GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
_FUNCTIONS = {"RNN": ["Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
_DIRECTIONS = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
_INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
_ATTRIBUTES = {
    "activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size",
    "input_forget", "layout", "linear_before_reset", "output_sequence",
}  # fmt: skip


def load_onnx(
    path: str | Path, inputs: Mapping[str, Tensor | np.ndarray[Any, Any]] | None = None
) -> dict[str, Recurrent | Bidirectional]:
    """The layers of an ONNX file: each RNN, LSTM and GRU node by its name.

    A node without a name goes by that of its first output. Weights are what the file holds or
    computes from what it holds, and keep their type. Layers here take ``(batch, time, features)``,
    whatever the ``layout`` of the node, and ``sequence_lens`` and initial states come with each
    call.

    Args:
        inputs: values for inputs of the file by their names, where it is given its weights instead
            of holding them: ``load_onnx(path, inputs={"W": W, "R": R})``.

    Raises:
        InputError: the file is missing, broken or holds no such node, ``inputs`` do not fit it, or
            a node has weights that depend on what the file is given, starts from a fixed state
            other than 0, or has functions that one cell here cannot have.
        ExportError: a package is missing.
    """
    require("onnx", "onnx_ir")
    import onnx_ir

    if not Path(path).is_file():
        raise InputError(f"there is no file {path}")
    try:
        model = onnx_ir.load(path)
    except Exception as error:  # protobuf and onnx_ir have classes of their own
        raise InputError(f"{path} is not an ONNX file") from error
    _fix(model.graph, inputs or {}, path)
    layers: dict[str, Recurrent | Bidirectional] = {}
    for node in model.graph.all_nodes():
        if node.op_type in _GATES and node.domain in ("", "ai.onnx"):
            first_output = next(str(value.name) for value in node.outputs if value.name)
            name = node.name if node.name and node.name not in layers else first_output
            layers[name] = _Node(node, name, model).layer()
    if not layers:
        raise InputError(f"{path} holds no RNN, LSTM or GRU node")
    return layers


def _fix(graph: Any, inputs: Mapping[str, Any], path: str | Path) -> None:
    """Make constants of the inputs of the graph that are given."""
    import onnx_ir

    own = {value.name: value for value in graph.inputs}
    for name, supplied in inputs.items():
        if name not in own:
            raise InputError(f"{path} has no input {name!r}; it has {', '.join(own) or 'none'}")
        array = (
            supplied.detach().cpu().numpy()
            if isinstance(supplied, Tensor)
            else np.asarray(supplied)
        )
        tensor = onnx_ir.tensor(array)
        if own[name].dtype not in (None, tensor.dtype):
            raise InputError(
                f"the input {name!r} of {path} takes {own[name].dtype}, got {tensor.dtype}: "
                "convert it first"
            )
        own[name].const_value = tensor


class _Node:
    """One node, read into NumPy and Python."""

    def __init__(self, node: Any, name: str, model: Any) -> None:
        self.model = model
        self.kind: str = node.op_type
        self.title = f"{node.op_type} {name!r}"
        self.attributes = {key: attribute.value for key, attribute in node.attributes.items()}
        self.inputs = dict(zip(_INPUTS, node.inputs, strict=False))
        unknown = self.attributes.keys() - _ATTRIBUTES
        if unknown:
            raise InputError(f"{self.title} has the unknown attribute {min(unknown)!r}")
        direction = self.attributes.get("direction", "forward")
        if direction not in _DIRECTIONS:
            raise InputError(f"{self.title} has the unknown direction {direction!r}")
        self.reversed = _DIRECTIONS[direction]

    def layer(self) -> Recurrent | Bidirectional:
        self.check_constant("W", "R", "B", "P")
        W, R = self.constant("W"), self.constant("R")
        B, P = self.constant("B"), self.constant("P")
        if W is None or R is None:
            raise InputError(f"{self.title} has no weights")
        size, directions, gates = R.shape[-1], len(self.reversed), _GATES[self.kind]
        wanted = {
            "W": (W, (directions, gates * size, W.shape[-1])),
            "R": (R, (directions, gates * size, self.attributes.get("hidden_size", size))),
            "B": (B, (directions, 2 * gates * size)),
            "P": (P, (directions, 3 * size)),
        }
        for name, (array, shape) in wanted.items():
            if array is not None and tuple(array.shape) != shape:
                raise InputError(
                    f"{name} of {self.title} has the shape {tuple(array.shape)}, and needs {shape}"
                )
        for name in ("initial_h", "initial_c"):
            value, title = self.inputs.get(name), f"{name} of {self.title}"
            if value is None or constants.unknown(value):
                continue
            if np.any(constants.evaluate(value, self.model.opset_imports, title)):
                raise InputError(
                    f"{title} is fixed in the file: give the layer its initial "
                    "state when you call it, and remove it there"
                )
        functions = self.functions()
        layers = []
        for d, reverse in enumerate(self.reversed):
            arrays = {n: a[d] for n, (a, _) in wanted.items() if a is not None}
            layers.append(Recurrent(self.cell(functions[d], arrays), reverse))
        return layers[0] if len(layers) == 1 else Bidirectional(layers[0], backward=layers[1])

    def check_constant(self, *names: str) -> None:
        """Refuse inputs that depend on what the file is given."""
        open_ = {
            name: undetermined
            for name in names
            if (value := self.inputs.get(name)) is not None
            and (undetermined := constants.unknown(value))
        }
        if not open_:
            return
        needed = dict.fromkeys(value for undetermined in open_.values() for value in undetermined)
        weights = f"{', '.join(open_)} of {self.title}"
        inner = [value.name for value in needed if value not in self.model.graph.inputs]
        if inner:
            raise InputError(
                f"the file computes {weights} anew at each run, from {inner[0]!r}, and the weights "
                "of a layer here are fixed"
            )
        arrays = ", ".join(f"{value.name!r}: array" for value in needed)
        raise InputError(
            f"the file is given {weights} at each run: name the values that the layer is to have, "
            f"load_onnx(path, inputs={{{arrays}}})"
        )

    def constant(self, name: str) -> Tensor | None:
        """An input that the file fixes, None if there is none."""
        value = self.inputs.get(name)
        if value is None:
            return None
        title = f"{name} of {self.title}"
        array = constants.evaluate(value, self.model.opset_imports, title)
        if array.dtype.name == "bfloat16":  # which NumPy knows from another package
            return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        if array.dtype.kind != "f":
            raise InputError(f"{title} holds {array.dtype}, and weights are floating-point")
        return torch.from_numpy(array)

    def functions(self) -> list[list[Function]]:
        """The activations of each direction, clipped if the node says so."""
        defaults, count = _FUNCTIONS[self.kind], len(self.reversed)
        names = self.attributes.get("activations") or defaults * count
        if len(names) != len(defaults) * count:
            raise InputError(
                f"{self.title} needs {len(defaults) * count} activations, got {len(names)}"
            )
        alphas, betas = (
            [float(str(np.float32(value))) for value in self.attributes.get(key, ())]
            for key in ("activation_alpha", "activation_beta")  # float32: 0.1 is meant by 0.1
        )
        functions: list[Function] = [from_onnx(f) for f in parse(names, alphas, betas)]
        clip = float(str(np.float32(self.attributes.get("clip", math.inf))))
        if clip <= 0:
            raise InputError(f"clip of {self.title} must be positive, got {clip}")
        if math.isfinite(clip):
            functions = [Clipped(f, clip) for f in functions]
        return [functions[d * len(defaults) :][: len(defaults)] for d in range(count)]

    def cell(self, functions: Sequence[Function], arrays: dict[str, Tensor]) -> Cell:
        """The cell of one direction."""
        W, R = arrays["W"], arrays["R"]
        sizes, bias = (W.shape[1], R.shape[1]), "B" in arrays
        cell: Cell
        if self.kind == "RNN":
            cell = SimpleRNN(*sizes, functions[0], bias)
        elif self.kind == "GRU":
            after = self.attributes.get("linear_before_reset", 0)
            cell = GRU(*sizes, "after" if after else "before", functions[1], functions[0], bias)
        else:
            cell = self.lstm(sizes, functions, bias, "P" in arrays)
        cell.to(W.dtype)
        cell.load_state_dict(values(cell, arrays))
        return cell

    def lstm(
        self, sizes: tuple[int, int], functions: Sequence[Function], bias: bool, peephole: bool
    ) -> LSTM:
        f, g, h = functions
        plain = activations.get("identity")
        if g != h and plain not in (g, h):
            raise InputError(
                f"{self.title} has different activations for the block input and the output, and "
                "an LSTM here has one for both"
            )
        return LSTM(
            *sizes,
            peephole=peephole,
            activation=h if g == plain else g,
            recurrent_activation=f,
            bias=bias,
            input_activation=g == h or g != plain,
            output_activation=g == h or h != plain,
            coupled=bool(self.attributes.get("input_forget", 0)),
        )


def values(cell: Cell, arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters of ``cell`` from W, R, B and P of one direction."""
    order = {SimpleRNN: [0], GRU: [1, 0, 2], LSTM: [0, 2, 3, 1]}[type(cell)]
    if isinstance(cell, LSTM) and cell.coupled:
        order = [0, 3, 1]

    def arranged(a: Tensor) -> Tensor:
        blocks = a.split(cell.hidden_size)
        return torch.cat([blocks[k] for k in order])

    parameters = {"W.weight": arranged(arrays["W"]), "U.weight": arranged(arrays["R"])}
    if "B" in arrays:
        of_input, of_state = map(arranged, arrays["B"].chunk(2))
        if isinstance(cell, GRU) and cell.reset == "after":
            *_, parameters["b"] = of_state.split(cell.hidden_size)
            of_state = torch.cat((of_state[: -cell.hidden_size], torch.zeros_like(parameters["b"])))
        parameters["b" if isinstance(cell, LSTM) else "W.bias"] = of_input + of_state
    if "P" in arrays and isinstance(cell, LSTM):
        p_i, p_o, p_f = arrays["P"].chunk(3)
        parameters["p"] = torch.stack([p_i, p_o] if cell.coupled else [p_i, p_f, p_o])
    return parameters

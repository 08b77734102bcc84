"""Cells that ONNX has: which operator says a cell, and its weights in the order of ONNX.

=========  ====================  ==========================  =============================
operator   gates of ONNX         gates here                  peepholes of ONNX, and here
=========  ====================  ==========================  =============================
RNN        one                   one
LSTM       i, o, f, c            i, f, g, o; g is ONNX's c   i, o, f, and i, f, o
GRU        z, r, h               r, z, n; n is ONNX's h
=========  ====================  ==========================  =============================
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saiki import activations
from saiki.activations import Function
from saiki.cell import Cell
from saiki.cells import GRU, LSTM, SimpleRNN
from saiki.export.functions import ALPHA, BETA, OnnxFunction, clip_of, to_onnx

OPSET = 22
OPERATORS = "RNN", "LSTM", "GRU"


@dataclass(frozen=True)
class Form:
    """A cell as an operator of ONNX; two directions of one form can be one node."""

    operator: str
    hidden_size: int
    clip: float
    option: str
    """``linear_before_reset`` or ``input_forget``; the attribute is 1 where it is named here."""
    has_bias: bool
    has_peepholes: bool

    def attributes(self, functions: list[OnnxFunction], reverse: list[bool]) -> dict[str, Any]:
        """The attributes of the node, with the activations of all its directions."""
        direction = "reverse" if reverse[0] else "forward"
        values: dict[str, Any] = {
            "hidden_size": self.hidden_size,
            "direction": "bidirectional" if len(reverse) == 2 else direction,
        }
        values["activations"] = [f.name for f in functions]
        alphas = [float(f.alpha) for f in functions if f.name in ALPHA]
        betas = [float(f.beta) for f in functions if f.name in BETA]
        if alphas:
            values["activation_alpha"] = alphas
        if betas:
            values["activation_beta"] = betas
        if math.isfinite(self.clip):
            values["clip"] = float(self.clip)
        if self.option:
            values[self.option] = 1
        return values


def native(cell: Cell, names: Iterable[str]) -> tuple[Form, list[OnnxFunction]] | None:
    """The operator that computes ``cell`` and its activations; None if ONNX has none.

    A subclass may have other equations, and parameters of other ``names`` other weights, so
    neither is taken for the cell it resembles.
    """
    functions: list[Function]
    present = set(names)
    expected, option = {"W.weight", "U.weight", "W.bias"}, ""
    if type(cell) is SimpleRNN:
        operator, functions = "RNN", [cell.activation]
    elif type(cell) is GRU:
        operator, functions = "GRU", [cell.recurrent_activation, cell.activation]
        expected.add("b")
        option = "linear_before_reset" if cell.reset == "after" else ""
    elif type(cell) is LSTM and cell.gates == list("igo" if cell.coupled else "ifgo"):
        plain = activations.get("identity")
        operator, functions = "LSTM", [cell.recurrent_activation]
        functions.append(cell.activation if cell.input_activation else plain)
        functions.append(cell.activation if cell.output_activation else plain)
        expected = {"W.weight", "U.weight", "b", "p"}
        option = "input_forget" if cell.coupled else ""
    else:
        return None
    known = [translated for f in functions if (translated := to_onnx(f)) is not None]
    clip = clip_of(functions)
    # onnxruntime does not clip the input of the LSTM's last activation, as the specification says
    if clip is None or (operator == "LSTM" and math.isfinite(clip)):
        return None
    if len(known) < len(functions) or not present <= expected:
        return None
    has_bias = bool({"b", "W.bias"} & present)
    return Form(operator, cell.hidden_size, clip, option, has_bias, "p" in present), known


def weights(
    cell: Cell, w: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """W, R, B and P of one direction from the parameters of ``cell``.

    ``W: (gates · hidden, input)``, ``R: (gates · hidden, hidden)``, ``B: (2 · gates · hidden)``,
    ``P: (3 · hidden)``; the last two are None where the cell has none.
    """
    peepholes = None
    if isinstance(cell, LSTM):
        bias, state_bias = w.get("b"), None
        ours = "".join(cell.gates)
        order = [ours.index(gate) for gate in ("ioig" if cell.coupled else "iofg")]
        if "p" in w:
            p = [w["p"][cell.peepholes.index(gate)] for gate in ("ioi" if cell.coupled else "iof")]
            peepholes = torch.cat(p)
    elif isinstance(cell, GRU):
        bias, state_bias = w.get("W.bias"), w.get("b")
        order = [1, 0, 2]
    else:
        bias, state_bias, order = w.get("W.bias"), None, [0]

    def arranged(a: Tensor) -> Tensor:
        blocks: Tensor = a.unflatten(0, (-1, cell.hidden_size))
        return blocks[order].flatten(0, 1)

    biases = None
    if bias is not None:
        of_state = torch.zeros_like(arranged(bias))
        if state_bias is not None:  # of n alone, the last gate in both orders
            of_state = torch.cat((of_state[: -cell.hidden_size], state_bias))
        biases = torch.cat((arranged(bias), of_state))
    return arranged(w["W.weight"]), arranged(w["U.weight"]), biases, peepholes

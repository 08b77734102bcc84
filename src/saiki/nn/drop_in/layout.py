"""How the parameters of ``torch.nn`` become those of a cell, family by family."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki import cells
from saiki.cell import Cell
from saiki.errors import InputError
from saiki.torch_internals import is_autocast_on

NAMES = {
    "W.weight": "weight_ih",
    "U.weight": "weight_hh",
    "P.weight": "weight_hr",
    "p": "weight_ph",
}
"""What ``torch.nn`` calls the parameters of a cell, and would call its peepholes."""
BIASES = {"b", "W.bias"}


def parameter_shapes(cell: Cell, bias: bool) -> dict[str, torch.Size]:
    """The shapes of the parameters of a cell, by their names in ``torch.nn``."""
    named = dict(cell.named_parameters())
    shapes = {_name(name): p.shape for name, p in named.items() if name not in BIASES}
    if bias:
        shapes |= dict.fromkeys(("bias_ih", "bias_hh"), named["W.weight"].shape[:1])
    return shapes


def parameter_names(cell: Cell) -> tuple[str, ...]:
    """The names of the parameters of a cell, noise or not."""
    return tuple(name.removeprefix("inner.") for name, _ in cell.named_parameters())


@contextmanager
def own_precision(weight: Tensor, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Where autocast is on: ``tensors`` in the type of the weights, and autocast off."""
    if not is_autocast_on():
        yield tensors
        return
    kind = weight.device.type if torch.amp.is_autocast_available(weight.device.type) else "cpu"
    with torch.autocast(kind, enabled=False):
        yield tuple(tensor.to(weight.dtype) for tensor in tensors)


def _name(name: str) -> str:
    return NAMES.get(name, name.replace(".", "_"))


class Family:
    """The cell behind a layer or cell of ``torch.nn``, and its options; neither TorchScript nor
    quantisation reads a module of it, which says so."""

    defaults: ClassVar[Mapping[str, Any]]
    """The options that make it the cell of ``torch.nn``."""
    options: dict[str, Any]

    def _cell(self: Any, input_size: int) -> Cell:
        raise NotImplementedError

    def _options(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The options, out of the ``arguments`` that are given by name."""
        return {name: arguments.pop(name, default) for name, default in self.defaults.items()}

    def _checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        for name, value in options.items():
            if isinstance(value, nn.Module) and value.state_dict():
                raise InputError(
                    f"{name} is {value}, which has parameters or buffers of its own; write a "
                    "saiki.Cell that holds it, for saiki.Recurrent"
                )
        return dict(options)

    def _biases(self: Any, b_ih: Tensor, b_hh: Tensor) -> dict[str, Tensor]:
        """The biases of the cell from the two of ``torch.nn``."""
        raise NotImplementedError

    def _tensors(
        self: Any, names: Sequence[str], end: str, read: Callable[[str], Tensor]
    ) -> list[Tensor]:
        """What ``torch.nn`` keeps under names with that ending, as the parameters of the cell."""
        biases = {}
        if self.bias:
            biases = self._biases(read(f"bias_ih{end}"), read(f"bias_hh{end}"))
        return [biases[n] if n in biases else read(_name(n) + end) for n in names]

    def reset_parameters(self: Any) -> None:
        """As in ``torch.nn``, uniform within ±1/√hidden_size; normalisations change nothing."""
        super().reset_parameters()  # type: ignore[misc]
        for name, parameter in self.named_parameters():
            if name.startswith("norm"):
                nn.init.constant_(parameter, float("weight" in name))

    def __prepare_scriptable__(self: Any) -> Any:
        raise InputError(
            f"TorchScript cannot read {self}; saiki.swap(model, back=True) makes a layer without "
            "options one of torch.nn, which it can, and saiki.export.onnx writes any"
        )

    @property
    def qconfig(self: Any) -> Any:
        """How quantisation should treat the module, which it does not."""
        if "qconfig" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no qconfig")
        return self.__dict__["qconfig"]

    @qconfig.setter
    def qconfig(self: Any, value: Any) -> None:
        self.__dict__["qconfig"] = value
        warnings.warn(
            f"{self} stays in floating point: quantisation knows the layers of torch.nn alone, "
            "which saiki.swap(model, back=True) gives back",
            stacklevel=3,
        )

    @qconfig.deleter
    def qconfig(self: Any) -> None:
        del self.__dict__["qconfig"]


class SimpleRNNFamily(Family):
    defaults: ClassVar = {"activation": None}

    def _checked(self: Any, options: Mapping[str, Any]) -> dict[str, Any]:
        is_plain = options["activation"] == self.nonlinearity
        return super()._checked({"activation": None} if is_plain else options)

    def _cell(self: Any, input_size: int) -> Cell:
        f = self.options["activation"] or self.nonlinearity
        return cells.SimpleRNN(input_size, self.hidden_size, f, self.bias)

    def _biases(self: Any, b_ih: Tensor, b_hh: Tensor) -> dict[str, Tensor]:
        return {"W.bias": b_ih + b_hh}


class LSTMFamily(Family):
    defaults: ClassVar = {
        "peephole": False, "activation": "tanh", "recurrent_activation": "sigmoid",
        "input_gate": True, "forget_gate": True, "output_gate": True, "input_activation": True,
        "output_activation": True, "coupled": False, "layer_norm": False,
    }  # fmt: skip

    def _cell(self: Any, input_size: int) -> Cell:
        return cells.LSTM(
            input_size,
            self.hidden_size,
            bias=self.bias,
            projection_size=getattr(self, "proj_size", 0) or None,
            **self.options,
        )

    def _biases(self: Any, b_ih: Tensor, b_hh: Tensor) -> dict[str, Tensor]:
        return {"b": b_ih + b_hh}


class GRUFamily(Family):
    defaults: ClassVar = {
        "reset": "after", "activation": "tanh", "recurrent_activation": "sigmoid"
    }  # fmt: skip

    def _cell(self: Any, input_size: int) -> Cell:
        return cells.GRU(input_size, self.hidden_size, bias=self.bias, **self.options)

    def _biases(self: Any, b_ih: Tensor, b_hh: Tensor) -> dict[str, Tensor]:
        if self.options["reset"] == "before":
            return {"W.bias": b_ih + b_hh}
        rz = 2 * self.hidden_size
        of_rz, of_n = b_hh.split((rz, self.hidden_size))
        return {"W.bias": b_ih + F.pad(of_rz, (0, self.hidden_size)), "b": of_n}

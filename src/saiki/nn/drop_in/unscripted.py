"""What TorchScript and quantisation hear from a module that only looks like ``torch.nn``'s."""

import warnings
from typing import Any

from saiki.errors import InputError


class Unscripted:
    """A module that neither reads, and that says so."""

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

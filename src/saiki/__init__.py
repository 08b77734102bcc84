"""Recurrent cells written once, as equations; everything else is derived from them."""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from saiki import settings

if TYPE_CHECKING:
    from saiki import activations, cells, convert, export, lens, nn
    from saiki.cell import Cell
    from saiki.errors import CellError, CompileError, ExportError, InputError, SaikiError
    from saiki.layers.bidirectional import Bidirectional
    from saiki.layers.recurrent import Recurrent
    from saiki.layers.stack import Stack
    from saiki.nn.drop_in.swapping import swap
    from saiki.proof import check
    from saiki.saving import pretrained
    from saiki.saving.pretrained import load

    __version__: str
    verify: bool

__all__ = [
    "Bidirectional",
    "Cell",
    "CellError",
    "CompileError",
    "ExportError",
    "InputError",
    "Recurrent",
    "SaikiError",
    "Stack",
    "activations",
    "cells",
    "check",
    "convert",
    "export",
    "lens",
    "load",
    "nn",
    "pretrained",
    "swap",
    "verify",
]

_HOMES = {
    "Bidirectional": "saiki.layers.bidirectional",
    "Cell": "saiki.cell",
    "CellError": "saiki.errors",
    "CompileError": "saiki.errors",
    "ExportError": "saiki.errors",
    "InputError": "saiki.errors",
    "Recurrent": "saiki.layers.recurrent",
    "SaikiError": "saiki.errors",
    "Stack": "saiki.layers.stack",
    "check": "saiki.proof",
    "load": "saiki.saving.pretrained",
    "pretrained": "saiki.saving",
    "swap": "saiki.nn.drop_in.swapping",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that ``saiki --help`` need not wait for torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in __all__:
        return importlib.import_module(f"saiki.{name}")
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("saiki")
    raise AttributeError(f"module 'saiki' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


class _Package(types.ModuleType):
    """The package, whose settings lie below all that reads them."""

    @property
    def verify(self) -> bool:
        """Whether each compiled loop proves itself on the first batch it is given, and is compared
        with the eager loop again from time to time. ``SAIKI_VERIFY=0`` in the environment turns it
        off, too."""
        return settings.verify

    @verify.setter
    def verify(self, value: bool) -> None:
        settings.verify = value


sys.modules[__name__].__class__ = _Package

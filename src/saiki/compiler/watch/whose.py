"""Whose something is: a user's, or of an installed package, which stays as it is.

What a function or class says of itself may have been set, or copied from what it wraps; here it
counts where it is found.
"""

import operator
import sys
import types
from functools import lru_cache
from pathlib import Path
from typing import Any

LIBRARIES = {"torch", "numpy", "saiki"}
"""Packages that read nothing of a user's but what a step gives them."""
_BELOW = {"sympy", "mpmath", "networkx", "typing_extensions", "filelock", "fsspec", "jinja2",
          "markupsafe", "llvmlite", "triton", "<string>", "None"}  # fmt: skip
"""Packages that PyTorch and saiki call."""
_INSTALLED = ("site-packages", "dist-packages", str(Path(operator.__file__).parent))
_HEAP, _IMMUTABLE = 1 << 9, 1 << 8
"""Flags of a class: that it was made while Python ran, and that nobody can change it."""


@lru_cache(maxsize=4096)
def is_library(name: str | None) -> bool:
    """Whether a module of that name is installed, and so does not change while a program runs."""
    root = (name or "builtins").partition(".")[0]
    if root in LIBRARIES:
        return True
    if root == "__main__":
        return False
    file = getattr(sys.modules.get(root), "__file__", None)
    if file is None:
        return root in sys.builtin_module_names
    return any(part in file for part in _INSTALLED)


def is_of_pytorch(name: str) -> bool:
    """Whether a module belongs to PyTorch and saiki, or to what these run on."""
    root = name.partition(".")[0]
    return root in LIBRARIES or root in _BELOW or root in sys.stdlib_module_names


def is_installed_space(space: dict[str, Any]) -> bool:
    """Whether globals are those of an installed module, or of one that has put an object of its own
    into its place."""
    own, imported = space.get("__name__"), getattr(space.get("__spec__"), "name", None)
    for name in (own, imported):
        if not isinstance(name, str) or not is_library(name):
            return False
        module = sys.modules.get(name)
        if module is not None and vars(module) is space:
            return True
    return type(sys.modules.get(str(own))) is not types.ModuleType


def is_installed(value: Any) -> bool:
    """Whether a module, function or class is of an installed package."""
    match value:
        case types.ModuleType():
            of_its_own_kind = type(value) is not types.ModuleType and is_installed(type(value))
            return of_its_own_kind or is_installed_space(vars(value))
        case types.FunctionType():
            return is_installed_space(value.__globals__)
        case type():
            return _is_installed_class(value)
    return is_library(type(value).__module__)


def _is_installed_class(cls: type) -> bool:
    module = vars(cls).get("__module__", cls.__module__)
    if not isinstance(module, str) or not is_library(module):
        return False
    if not is_changeable(cls):
        return True
    value: Any = sys.modules.get(module)
    for part in cls.__qualname__.split("."):
        value = vars(value).get(part) if isinstance(value, type | types.ModuleType) else None
    if value is cls:
        return True
    if "<locals>" not in cls.__qualname__:
        return False
    functions = [each for each in vars(cls).values() if isinstance(each, types.FunctionType)]
    return bool(functions) and all(map(is_installed, functions))


def is_changeable(cls: type) -> bool:
    """Whether its attributes can be set."""
    return bool(cls.__flags__ & _HEAP and not cls.__flags__ & _IMMUTABLE)


def is_in_place(function: types.FunctionType, owner: type, name: str) -> bool:
    """Whether it is the function that a class of an installed package has under that name."""
    return (
        function.__module__ == owner.__module__
        and function.__qualname__ == f"{owner.__qualname__}.{name}"
        and is_installed(function)
    )

"""What code says that it may read: the names in it, and those that no watch can answer for."""

import dis
import operator
import sys
import types
from functools import lru_cache
from pathlib import Path

_LIBRARIES = {"torch", "numpy", "saiki"}
_INSTALLED = ("site-packages", "dist-packages", str(Path(operator.__file__).parent))
ALL = {"vars", "eval", "exec", "globals", "locals", "__dict__"}
"""Names whose mention means that any attribute may be read."""
HIDDEN = {"globals", "locals", "eval", "exec", "__import__", "id", "open", "input"}
"""Built-in functions that reach what cannot be followed."""
CHANCE = {"random", "secrets", "time", "datetime", "uuid"}
"""Modules whose answers are others each time."""
ASKED = {
    "is_grad_enabled", "is_inference_mode_enabled", "is_inference", "requires_grad", "grad_fn",
    "is_leaf", "is_compiling", "is_autocast_enabled", "is_tracing", "is_scripting",
    "manual_seed", "initial_seed", "fork_rng", "get_rng_state", "set_rng_state",
    "default_generator",
}  # fmt: skip
"""Attributes that tell a step in which mode it runs, or what random numbers come next, which a
trace knows of no other call."""


@lru_cache(maxsize=4096)
def is_library(name: str | None) -> bool:
    """Whether a module is installed, and so does not change while a program runs."""
    root = (name or "builtins").partition(".")[0]
    if root in _LIBRARIES:
        return True
    file = getattr(sys.modules.get(root), "__file__", None)
    if file is None:
        return root in sys.builtin_module_names
    return any(part in file for part in _INSTALLED)


@lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> tuple[tuple[str, ...], frozenset[str]]:
    """The globals that the code, and the code inside it, reads or writes; and all names and
    strings in it."""
    loaded: dict[str, None] = {}
    names = set(code.co_names)
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"):
            loaded[str(instruction.argval)] = None
    for constant in code.co_consts:
        if isinstance(constant, str):
            names.add(constant)
        elif isinstance(constant, types.CodeType):
            inner, more = names_in(constant)
            loaded |= dict.fromkeys(inner)
            names |= more
    return tuple(loaded), frozenset(names)

"""What code says that it may read: the names in it, and those that no watch can answer for."""

import dis
import functools
import re
import types
from collections.abc import Iterable, Iterator
from functools import lru_cache
from importlib.util import resolve_name
from typing import Any

ALL = {
    "vars", "dir", "__dict__", "getattr", "__getattribute__", "attrgetter", "methodcaller",
    "__reduce__", "__reduce_ex__", "__getstate__", "__dir__", "format_map",
}  # fmt: skip
"""Names whose mention means that any attribute may be read."""
_SETS = {"BUILD_SET", "SET_ADD", "SET_UPDATE"}
"""Instructions that make sets."""
_FIELD = re.compile(r"\{[^{}]*[.\[]")
FIELD = "{}"
"""Stands for texts that read an attribute or an item when they are formatted."""
STATEMENT = "class"
"""Stands for statements for which Python calls what it finds among built-in functions."""
COPIED = "dispatch_table"
"""The name under which Python finds how objects are copied."""
HIDDEN = {"globals", "locals", "eval", "exec", "__import__", "id", "open", "input"}
"""Built-in functions that reach what cannot be followed."""
UNFOLLOWED = {
    "_getframe", "f_globals", "f_locals", "f_builtins", "f_back", "__globals__", "__builtins__",
    "__subclasses__", "__annotations__", "get_type_hints", "state_dict",
    "__hash__", "__sizeof__", "__alloc__", "getweakrefcount", "getweakrefs",
}  # fmt: skip
"""Attributes that do."""
CHANCE = {"random", "secrets", "time", "datetime", "uuid"}
"""Modules whose answers are others each time."""
UNWATCHED = {
    **dict.fromkeys(CHANCE, "whose answers differ each time"),
    **dict.fromkeys(("decimal", "_decimal", "_pydecimal"), "whose context is not watched"),
    **dict.fromkeys(("gc", "inspect", "ctypes"), "which reaches what cannot be followed"),
}
"""Modules that no watch can answer for, and why."""
MODES = {
    "is_grad_enabled", "is_inference_mode_enabled", "is_inference", "requires_grad", "grad_fn",
    "is_leaf", "is_compiling", "is_autocast_enabled", "is_tracing", "is_scripting",
    "manual_seed", "initial_seed", "fork_rng", "get_rng_state", "set_rng_state",
    "default_generator",
}  # fmt: skip
"""Attributes that tell a step in which mode it runs, or what random numbers come next, which a
trace knows of no other call."""


@lru_cache(maxsize=4096)
def names_in(code: types.CodeType) -> tuple[tuple[str, ...], frozenset[str]]:
    """The globals that the code, and the code inside it, reads or writes; and all names and
    strings in it."""
    loaded: dict[str, None] = {}
    names = set(code.co_names)
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL"):
            loaded[str(instruction.argval)] = None
        elif instruction.opname in ("LOAD_BUILD_CLASS", "IMPORT_NAME"):
            names.add(STATEMENT)
    constants = list(code.co_consts)
    while constants:
        constant = constants.pop()
        if isinstance(constant, str):
            names.add(constant)
        elif isinstance(constant, tuple | frozenset):  # of a pattern, say
            constants += constant
        elif isinstance(constant, types.CodeType):
            inner, more = names_in(constant)
            loaded |= dict.fromkeys(inner)
            names |= more
    if any(map(reads_fields, names)):
        names.add(FIELD)
    return tuple(loaded), frozenset(names)


@lru_cache(maxsize=4096)
def imports_in(code: types.CodeType, package: str = "") -> frozenset[str]:
    """The modules that the code, and the code inside it, imports; relative ones of ``package``."""
    modules, instructions = set[str](), [*dis.get_instructions(code)]
    for i, each in enumerate(instructions):
        if each.opname == "IMPORT_NAME":
            dots = "." * int(instructions[i - 2].argval or 0)
            name = resolve_name(dots + each.argval, package) if dots and package else each.argval
            parts = instructions[i - 1].argval or ()
            modules |= {name, *(f"{name}.{part}" for part in parts)}
    return frozenset(modules.union(*(imports_in(each, package) for each in _inner(code))))


def reads_fields(text: str) -> bool:
    return _FIELD.search(text) is not None


def makes_sets(code: types.CodeType) -> bool:
    """Whether what it makes comes in an order that differs from process to process."""
    if any(each.opname in _SETS for each in dis.get_instructions(code)):
        return True
    return (
        bool({"set", "frozenset"}.intersection(code.co_names))
        or any(isinstance(constant, frozenset) for constant in code.co_consts)
        or any(map(makes_sets, _inner(code)))
    )


def codes_in(code: types.CodeType) -> frozenset[int]:
    """The code and all code inside it, by identity."""
    return frozenset({id(code)}.union(*map(codes_in, _inner(code))))


def _inner(code: types.CodeType) -> Iterator[types.CodeType]:
    return (constant for constant in code.co_consts if isinstance(constant, types.CodeType))


def functions_of(value: Any) -> Iterator[types.FunctionType]:
    """The function that it is, or those that a property or the like is made of."""
    match value:
        case types.FunctionType():
            yield value
        case property() | types.DynamicClassAttribute():
            for part in (value.fget, value.fset, value.fdel):
                yield from functions_of(part)
        case staticmethod() | classmethod() | types.MethodType():
            yield from functions_of(value.__func__)
        case functools.cached_property() | functools.partialmethod():
            yield from functions_of(value.func)


class Ran:
    """What a step was seen to run beside the code to which its cell leads.

    Args:
        codes: of users.
        names: what code of installed packages that it calls may read.
    """

    def __init__(
        self, codes: Iterable[types.CodeType] = (), names: frozenset[str] = frozenset()
    ) -> None:
        self.codes = {id(code): code for code in codes}
        self.names = names

    def __contains__(self, code: types.CodeType) -> bool:
        return id(code) in self.codes


NOTHING = Ran()

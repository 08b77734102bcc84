"""The fingerprint of a step: all that it can reach from its cell, followed once.

Followed are functions of users, not those of installed packages; of the values of attributes that
are neither numbers, tensors nor modules, those whose name is mentioned in the code that was
reached. Whether that is all that a step runs, its trace tells (:mod:`saiki.compiler.audit`); what
ran beside it is followed, too, the next time.
"""

import abc
import array
import builtins
import contextvars
import functools
import operator
import sys
import threading
import types
import weakref
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from saiki.cell import Cell
from saiki.compiler.code import (
    ALL,
    HIDDEN,
    LIBRARIES,
    NOTHING,
    UNFOLLOWED,
    Ran,
    codes_in,
    imports_in,
    is_library,
    names_in,
)
from saiki.compiler.identity import (
    CONTENTS,
    FUNCTION,
    Itself,
    contents,
    in_context,
    is_absent,
    is_filled,
    is_same_referent,
    virtual_subclasses,
)
from saiki.compiler.kinds import (
    BUILT_IN,
    CLASS,
    CONSTANT,
    CTYPES,
    EXTENDED,
    OF_A_KIND,
    PLAIN,
    SCALARS,
    SELDOM,
    UNREAD,
    is_bound,
    is_key,
    key_of,
    must_be_watched,
    of_tensor,
    own_of,
    slots_of,
    without_owner,
)
from saiki.compiler.reach import Place, Reach
from saiki.errors import CompileError

MOST = 5000
"""Values that are followed at most."""
LARGEST = 1 << 16
"""Bytes of an array that are compared at each call."""

_INTERNAL = set(vars(nn.Module())) - {"training"}
_OWN = "_saiki_"
"""How attributes begin that saiki gives modules, and that say nothing of what they compute."""


class Fingerprint(Reach):
    """Follows everything from a cell on, each value once."""

    def __init__(self, cell: nn.Module, ran: Ran = NOTHING) -> None:
        super().__init__(cell, ran)
        while self.stack or self._modules_as_a_whole():
            self._visit(*self.stack.pop())
            if len(self.tokens) > MOST:
                raise CompileError(
                    f"step of {type(cell).__name__} can read more than {MOST} values, too many to "
                    "watch for changes; keep large tables out of the cell, or register them as "
                    "buffers"
                )
        for path, name in self.attributes:
            if name in self.mentioned:
                raise CompileError(
                    f"step may read {path}.{name}, an attribute of a tensor, which a kernel does "
                    "not know"
                )

    def _visit(self, path: str, value: Any, place: Place | None) -> None:
        if isinstance(value, np.generic):
            self.tokens.append((path, repr(value)))
            return
        if isinstance(value, SCALARS) and is_library(type(value).__module__):
            exact = repr(value) if isinstance(value, float | complex) else value
            self.tokens.append((path, type(value), exact))
            if isinstance(value, str):  # which may name an attribute
                self._mention((value,))
            return
        if id(value) in self.seen:
            self.tokens.append((path, "same", self.seen[id(value)]))
            return
        self.seen[id(value)] = path
        self.alive.append(value)
        if isinstance(value, BUILT_IN) and own_of(value):
            raise CompileError(
                f"{path} is a {type(value).__name__} with attributes of its own, which are not "
                "watched"
            )
        for kind in EXTENDED:
            if isinstance(value, kind):
                self.tokens.append((path, kind, kind.__repr__(value)))
        if isinstance(value, OF_A_KIND) and not is_library(type(value).__module__):
            self._class(type(value).__name__, type(value))
        self._follow(path, value, place)

    def _follow(self, path: str, value: Any, place: Place | None) -> None:
        match value:
            case Tensor():
                self._tensor(path, value, place)
            case nn.Module():
                self._module(path, value)
            case list() | dict() | set() | frozenset() | deque() if type(value) not in PLAIN:
                raise CompileError(f"{path} is a {type(value).__name__}, which is not watched")
            case dict() | types.MappingProxyType():
                self._mapping(path, value)
            case list() | deque() | tuple() | set() | frozenset():
                self._container(path, value)
            case np.ndarray() | bytearray() | array.array() | memoryview():
                self._buffer(path, value)
            case contextvars.ContextVar():
                self.getters.append((in_context, value))
                self.tokens.append((path, "variable of the context", value.name))
                self._push(path, value.get(None))
            case weakref.ref():
                self.tokens.append((path, "reference"))
                self.values.append((functools.partial(is_same_referent, value, value()), True))
                self._push(path, value())
            case types.FunctionType():
                self._function(path, value)
            case types.BuiltinFunctionType() | types.MethodWrapperType():
                self.tokens.append((path, "object", without_owner(value)))
                if is_bound(value):
                    self._push(path + ".__self__", value.__self__)
            case types.MethodType():
                self._wrapper(path, value, "method", "__self__", "__func__")
            case functools.partial():
                self._wrapper(path, value, "partial", "keywords", "args", "func")
            case property():
                self._wrapper(path, value, "property", "fdel", "fset", "fget")
            case staticmethod() | classmethod():
                self.tokens.append((path, type(value)))
                self._push(path + ".__func__", value.__func__)
            case types.ModuleType():
                self.tokens.append((path, "whole module", value.__name__))
                if not is_library(value.__name__):
                    self._table(path, vars(value))
                    self._fields(path + ".", vars(value), vars(value))
            case type():
                self.tokens.append((path, "class", Itself(value)))
                self._class(path, value)
            case _:
                self._object(path, value)

    def _mapping(self, path: str, value: Mapping[Any, Any]) -> None:
        if not all(map(is_key, value)):
            raise CompileError(f"{path} is keyed by objects, which is not watched")
        self._table(path, value)
        if isinstance(value, defaultdict):
            self.getters.append((operator.attrgetter("default_factory", "default_factory"), value))
            self._push(path + ".default_factory", value.default_factory)
        for key, item in reversed([*value.items()]):
            self._push(f"{path}[{key!r}]", item, (value, key))
        self.tokens.append((path, type(value), *map(key_of, value)))

    def _container(self, path: str, value: Any) -> None:
        if isinstance(value, set | frozenset):
            if not all(map(is_key, value)):
                raise CompileError(f"{path} is a set of objects, which is not watched")
            self.values.append((functools.partial(frozenset, value), frozenset(value)))
            self.tokens.append((path, frozenset(map(key_of, value))))
            return
        if not isinstance(value, tuple):
            self.sequences.append(value)
            self.names_of.append(path)
        self.tokens.append((path, type(value), len(value)))
        for i in reversed(range(len(value))):
            self._push(f"{path}[{i}]", value[i], (value, i))

    def _buffer(self, path: str, value: Any) -> None:
        if not isinstance(value, np.ndarray):
            self.values.append((functools.partial(bytes, value), bytes(value)))
            self.tokens.append((path, type(value), bytes(value)))
            return
        if value.nbytes > LARGEST or value.dtype.hasobject:
            raise CompileError(
                f"the array {path} is too large to watch for changes; register it as a buffer"
            )
        self.arrays.append((path, value))
        self.values.append((value.tobytes, value.tobytes()))
        self.tokens.append((path, value.shape, value.dtype.str, value.tobytes()))

    def _wrapper(self, path: str, value: Any, kind: str, *names: str) -> None:
        """What calls a function, and attributes of it that say which, and with what."""
        self.tokens.append((path, kind))
        for name in names:
            self._push(f"{path}.{name}", getattr(value, name))

    def _tensor(self, path: str, tensor: Tensor, place: Place | None) -> None:
        if place is not None and not isinstance(place[0], tuple):
            self.places[path] = place
        elif tensor.requires_grad:
            raise CompileError(f"step reads the tensor {path}, which cannot be replaced in a tuple")
        self.tokens.append((path, *of_tensor(tensor), tensor.requires_grad, place is None))
        self.values.append((functools.partial(tuple, vars(tensor)), tuple(vars(tensor))))
        self.attributes += ((path, name) for name in vars(tensor))

    def _module(self, path: str, module: nn.Module) -> None:
        prefix = path + "." if path else ""
        if isinstance(module, Cell):
            _ = module.state_names, module.memory_names  # which a cell notes when first asked
        own = vars(module)
        self.objects.append(module)
        self.tokens.append((path, "module", Itself(type(module)), module.training))
        for table in (module._parameters, module._buffers):
            self.tensor_tables.append(table)
            for name, tensor in table.items():
                full = prefix + name
                if tensor is None:
                    self.tokens.append((full, None))
                    continue
                if id(tensor) not in self.seen:  # of a module that the cell does not know of
                    self._place(full, tensor, table, name)
                grad = tensor.requires_grad and table is module._buffers
                self.tokens.append((full, self.seen[id(tensor)], *of_tensor(tensor), grad))
                self.attributes += ((full, name) for name in vars(tensor))
        self._table(path, module._modules)
        for name, part in reversed(module._modules.items()):
            self._push(prefix + name, part)
        self._fields(prefix, {k: v for k, v in own.items() if k not in _INTERNAL}, own)
        if "_saiki_kernels" in own or "_saiki_built" in own:  # of a layer, which come and go
            names = [name for name in own if not name.startswith(_OWN)]
            self.getters.append((operator.itemgetter(*names), own))
        else:
            self._table(path, own)
        self._class(type(module).__name__, type(module))

    def _fields(self, prefix: str, fields: Mapping[str, Any], owner: Any) -> None:
        for name, value in reversed([*fields.items()]):
            if not name.startswith(_OWN):
                self._offer(prefix + name, name, value, (owner, name))

    def _table(self, path: str, table: Any) -> None:
        self.tables.append(table)
        self.tables_of.append(path)

    def _class(self, path: str, cls: type) -> None:
        if type(cls) is not type:
            self._metaclass(path, cls)
        for base in cls.__mro__:
            if id(base) in self.seen and base is not cls:
                continue
            self.seen[id(base)] = path
            own = vars(base)
            if is_library(base.__module__):
                if not base.__module__.startswith(("torch", "builtins", "saiki.cell.")):
                    self._library_class(path, own)
                continue
            self._table(path, own)
            self.getters.append((CLASS, base))
            read = {k: v for k, v in own.items() if k not in UNREAD}
            self.class_tables.append((base.__name__, base, dict(read)))
            read = {k: v for k, v in read.items() if k not in SELDOM or self._has_run(v)}
            bases = tuple(map(Itself, base.__bases__))
            self.tokens.append((base.__qualname__, base.__name__, bases, tuple(read)))
            for name, value in reversed(read.items()):
                special = name.startswith("__") and isinstance(value, types.FunctionType)
                if special or name == "__match_args__":
                    self._push(f"{base.__name__}.{name}", value)
                else:
                    self._offer(f"{base.__name__}.{name}", name, value)

    def _metaclass(self, path: str, cls: type) -> None:
        """What answers for the class itself, and which others are said to be of it."""
        if not is_library(type(cls).__module__):
            self._class(path, type(cls))
        if isinstance(cls, abc.ABCMeta) and not is_library(cls.__module__):
            self.values.append((abc.get_cache_token, abc.get_cache_token()))
            self.tokens.append((path, frozenset(map(Itself, virtual_subclasses(cls)))))

    def _library_class(self, path: str, own: Mapping[str, Any]) -> None:
        """A class of an installed package; what its functions mention is followed in objects."""
        functions = {k: v for k, v in own.items() if isinstance(v, types.FunctionType)}
        for function in functions.values():
            self._mention(names_in(function.__code__)[1] - ALL)
        if "step" in functions:
            self.getters.append((operator.itemgetter("step", "step"), own))
            self.tokens.append((path, Itself(functions["step"])))

    def _function(self, path: str, function: types.FunctionType) -> None:
        if is_library(function.__module__):
            self.tokens.append((path, "function", Itself(function)))
            if function.__module__.partition(".")[0] not in LIBRARIES:
                self._closure(function)
            return
        code = function.__code__
        self.codes |= codes_in(code)
        self.tokens.append((path, code, function.__name__, function.__qualname__, function.__doc__))
        self.getters.append((FUNCTION, function))
        self._table(path, vars(function))
        self._fields(path + ".", vars(function), vars(function))
        self._closure(function)
        for default in (function.__defaults__, function.__kwdefaults__):
            if default:
                self._push(path + ".defaults", default)
        loaded, names = names_in(code)
        unfollowed = sorted(names & UNFOLLOWED)
        if unfollowed:
            raise CompileError(f"step may read {unfollowed[0]}, which reaches what is not watched")
        known = function.__globals__
        self._globals(known, loaded, names)
        imported = {name for name in names & sys.modules.keys() if not is_library(name)}
        for name in sorted(imported | imports_in(code) & sys.modules.keys()):
            if name not in known or name not in loaded:
                self._global(name, sys.modules[name], names, sys.modules)
        self._mention(names)

    def _closure(self, function: types.FunctionType) -> None:
        cells = [c for c in function.__closure__ or () if is_filled(c)]
        if cells:
            self.getters.append((contents, cells))
        names = function.__code__.co_freevars
        for name, cell in zip(names, function.__closure__ or (), strict=True):
            if is_filled(cell):
                self._not_own(name, cell.cell_contents)
                self._push(name, cell.cell_contents, (CONTENTS, cell))

    def _globals(self, known: dict[str, Any], loaded: Iterable[str], names: frozenset[str]) -> None:
        """What those names stand for in a module, or else in Python itself."""
        own = vars(builtins)
        read = [name for name in loaded if name in known]
        absent = [name for name in loaded if name not in known]
        built_in = [name for name in absent if name in own]
        hidden = [name for name in absent if name in HIDDEN]
        if hidden:
            raise CompileError(f"step calls {hidden[0]}, whose answers are not watched")
        if absent:
            self.values.append((functools.partial(is_absent, known, absent), True))
        for names_of, table in ((read, known), (built_in, own)):
            if names_of:
                self.getters.append((operator.itemgetter(*names_of, names_of[0]), table))
        for name in reversed(read):
            self._global(name, known[name], names, known)
        self.tokens += ((name, "built in", without_owner(own[name])) for name in built_in)

    def _not_own(self, name: str, value: Any) -> None:
        """A step may ask whether a module of its cell is one that it finds elsewhere."""
        if isinstance(value, nn.Module) and id(value) in self.own:
            raise CompileError(f"{name} is a module of the cell, which the step finds elsewhere")

    def _global(
        self, name: str, value: Any, names: frozenset[str], table: dict[str, Any], key: str = ""
    ) -> None:
        """A global of that name, or one of a module, and where it is."""
        if not isinstance(value, types.ModuleType):
            owner = getattr(value, "__self__", None)
            where = str(getattr(value, "__module__", None) or getattr(owner, "__module__", None))
            must_be_watched(f"calls {name} of", where)
            self._not_own(name, value)
            self._push(name, value, (table, key or name))
            return
        full = value.__name__
        if full == "numpy" and "random" in names:
            full = "numpy.random"
        must_be_watched("reads", full)
        if full == "os" and names & {"environ", "environb", "getenv", "getenvb"}:
            raise CompileError("step reads the environment, which is not watched")
        if full == "sys" and "modules" in names:
            raise CompileError("step reads sys.modules, which is not watched")
        self.tokens.append((name, "module", full))
        if (full, names) in self.modules:
            return
        self.modules.add((full, names))
        own = vars(value)
        if not is_library(full):
            self.read_modules[name] = value
            if any(map(self._has_run, own.values())):
                self._push(name, value)
        read = sorted(names & own.keys())
        if read:
            self.getters.append((operator.itemgetter(*read, read[0]), own))
        for key in reversed(read):
            self._global(f"{name}.{key}", own[key], names, own, key)

    def _object(self, path: str, value: Any) -> None:
        cls = type(value)
        must_be_watched(f"may read {path}, a {cls.__name__} of", cls.__module__)
        own = own_of(value)
        slots = [
            n for base in cls.__mro__ for n in slots_of(base)
            if not is_library(base.__module__) and hasattr(value, n)
        ]  # fmt: skip
        if cls.__module__.startswith(("saiki.compiler", "torch")):
            self.tokens.append((path, "object", Itself(value)))
            return
        hidden = isinstance(value, threading.local | functools._lru_cache_wrapper)
        hidden = hidden or cls.__base__ in CTYPES or hasattr(cls, "__next__")
        plain = own is None and not slots and is_library(cls.__module__)
        if hidden or (plain and not isinstance(value, CONSTANT) and cls is not object):
            raise CompileError(
                f"step may read {path}, a {cls.__name__}, whose contents cannot be watched"
            )
        if plain:
            if isinstance(value, operator.attrgetter | operator.methodcaller):
                self._mention({"getattr"})
            self.tokens.append((path, "object", Itself(value)))
            return
        self.objects.append(value)
        self.tokens.append((path, "object", Itself(cls)))
        if own is not None:
            if "__wrapped__" in own:
                self._push(path + ".__wrapped__", own["__wrapped__"])
            self._table(path, own)
            self._fields(path + ".", own, own)
        if slots:
            get = operator.attrgetter(*slots, slots[0])
            self.getters.append((get, value))
            for name in reversed(slots):
                self._offer(f"{path}.{name}", name, getattr(value, name))
        self._class(cls.__name__, cls)

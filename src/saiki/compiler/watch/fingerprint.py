"""The fingerprint of a step: all that it can reach from its cell, followed once.

Followed are functions of users, not those of installed packages; of the values of attributes that
are neither numbers, tensors nor modules, those whose name is mentioned in the code that was
reached. Whether that is all that a step runs, its trace tells (:mod:`saiki.compiler.watch.audit`);
what ran beside it is followed, too, the next time.
"""

import builtins
import contextvars
import copyreg
import functools
import logging
import operator
import types
import weakref
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saiki.cell import Cell
from saiki.compiler.watch import kinds
from saiki.compiler.watch.answers import why_not_called
from saiki.compiler.watch.code import COPIED, FIELD, NOTHING, STATEMENT, Ran, reads_fields
from saiki.compiler.watch.kinds import Itself
from saiki.compiler.watch.reach import Place
from saiki.compiler.watch.spaces import Spaces
from saiki.compiler.watch.whose import is_installed
from saiki.errors import CompileError

MAX_VALUES = 5000
"""Values that are followed at most."""
MAX_ARRAY_BYTES = 1 << 16
"""Bytes of an array that are compared at each call."""

_TABLES = {"_parameters", "_buffers", "_modules", "training"}
"""Attributes of modules that are followed apart."""
_INTERNAL = set(vars(nn.Module()))
"""Attributes of modules that steps seldom read."""
_NAMED = (*kinds.OPERATORS, torch.jit.ScriptFunction)
"""Operators, which are told by their names."""
_LOGGER = operator.attrgetter("name", "level", "disabled")
_STATEMENTS = operator.itemgetter("__build_class__", "__import__")
"""What Python runs for the statements ``class`` and ``import``."""
_PARTIAL = operator.attrgetter("func", "args", "keywords")
_PROPERTY = operator.attrgetter("fget", "fset", "fdel", "__doc__")
_SUPER = operator.attrgetter("__thisclass__", "__self__")
_LONGEST = operator.attrgetter("maxlen", "maxlen")


class Fingerprint(Spaces):
    """Follows everything from a cell on, each value once."""

    def __init__(self, cell: nn.Module, ran: Ran = NOTHING) -> None:
        super().__init__(cell, ran)
        self.is_of_numpy = False
        self._class("Tensor", Tensor)
        if COPIED in ran.names:
            self._push("copyreg.dispatch_table", copyreg.dispatch_table)
        while self.stack or self._follow_whole_modules() or self._follow_names():
            self._visit(*self.stack.pop())
            if len(self.tokens) > MAX_VALUES:
                raise CompileError(
                    f"step of {type(cell).__name__} can read more than {MAX_VALUES} values, too "
                    "many to watch for changes; keep large tables out of the cell, or register "
                    "them as buffers"
                )
        self.watch_spaces()
        if STATEMENT in self.mentioned:
            self.getters.append((_STATEMENTS, vars(builtins)))
            self.tokens += (("statement", Itself(each)) for each in _STATEMENTS(vars(builtins)))
        if self.is_of_numpy:
            self.values.append((_of_numpy, _of_numpy()))
            self.tokens.append(("numpy", _of_numpy()))
        for path, name in self.attributes:
            if name in self.mentioned:
                raise CompileError(
                    f"step may read {path}.{name}, an attribute of a tensor or an array, which a "
                    "kernel does not know"
                )

    def _visit(self, path: str, value: Any, place: Place | None) -> None:
        self.is_of_numpy = self.is_of_numpy or kinds.is_of_numpy(value)
        if isinstance(value, np.generic):
            _must_be_plain(path, value.dtype)
        if isinstance(value, kinds.SCALARS) and is_installed(type(value)):
            exact = repr(value) if isinstance(value, kinds.WRITTEN) else value
            self.tokens.append((path, type(value), exact, kinds.bits_of(value)))
            if isinstance(value, str):  # which may name an attribute
                self._mention((value, FIELD) if reads_fields(value) else (value,))
            return
        if id(value) in self.seen:
            self.tokens.append((path, "same", self.seen[id(value)]))
            return
        self._see(value)
        self.alive.append(value)
        if isinstance(value, kinds.BUILT_IN) and self._attributes(path, value):
            raise CompileError(
                f"{path} is a {type(value).__name__} with attributes of its own, which are not "
                "watched"
            )
        for kind in kinds.EXTENDED:
            if isinstance(value, kind):
                self.tokens.append((path, kind, kind.__repr__(value), kinds.bits_of(value)))
        if isinstance(value, kinds.OF_A_KIND) and not is_installed(type(value)):
            self._class(type(value).__name__, type(value))
        self._follow(path, value, place)

    def _follow(self, path: str, value: Any, place: Place | None) -> None:
        match value:
            case Tensor():
                self._tensor(path, value, place)
            case nn.Module():
                self._module(path, value)
            case _ if isinstance(value, tuple(kinds.PLAIN)) and type(value) not in kinds.PLAIN:
                raise CompileError(f"{path} is a {type(value).__name__}, which is not watched")
            case dict() | types.MappingProxyType():
                self._mapping(path, value)
            case set() | frozenset():
                self._set(path, value)
            case list() | deque() | tuple():
                self._sequence(path, value)
            case _ if isinstance(value, kinds.ARRAYS):
                self._memory(path, value)
            case contextvars.ContextVar():
                self.getters.append((kinds.in_context, value))
                self.tokens.append((path, "variable of the context", value.name))
                self._push(path, kinds.in_context(value)[0])
            case types.FunctionType():
                self._function(path, value)
            case types.MethodType():
                self._wrapper(path, value, "method", "__self__", "__func__")
            case types.ModuleType():
                self._space(path, value)
            case type():
                if value in kinds.READERS:
                    self._mention({"getattr"})
                self.tokens.append((path, "class", Itself(value)))
                self._class(path, value)
            case types.BuiltinFunctionType() | types.MethodWrapperType():
                self.tokens.append((path, "object", kinds.without_owner(value)))
                self._must_be_followed({value.__name__})
                self._mention({value.__name__})
                if kinds.is_bound(value):
                    self._push(path + ".__self__", value.__self__)
                elif why := why_not_called(value, True):
                    raise CompileError(f"step {why}")
            case _ if type(value) is weakref.ref and not isinstance(value(), Tensor | nn.Module):
                self.values.append(
                    (functools.partial(kinds.is_same_referent, value, value()), True)
                )
                self._push(path, value())
                self._wrapper(path, value, "reference", "__callback__")
            case _ if type(value) is functools.partial:
                self.getters.append((_PARTIAL, value))
                self._wrapper(path, value, "partial", "keywords", "args", "func")
            case _ if type(value) is property:
                self.getters.append((_PROPERTY, value))
                self._wrapper(path, value, "property", "__doc__", "fdel", "fset", "fget")
            case _ if type(value) in (staticmethod, classmethod):
                own = self._attributes(path, value) or {}
                self._fields(path + ".", own, own)
                self._wrapper(path, value, type(value).__name__, "__func__")
            case _:
                self._object(path, value)

    def _mapping(self, path: str, value: Mapping[Any, Any]) -> None:
        if not all(map(kinds.is_key, value)):
            raise CompileError(f"{path} is keyed by objects, which is not watched")
        self._table(path, value)
        if isinstance(value, OrderedDict):  # which has another order as a dictionary
            self.values.append((functools.partial(_as_dict, value), _as_dict(value)))
            self.tokens.append((path, *map(kinds.key_of, _as_dict(value))))
        if isinstance(value, defaultdict):
            self.getters.append((operator.attrgetter("default_factory", "default_factory"), value))
            self._push(path + ".default_factory", value.default_factory)
        for key, item in reversed([*value.items()]):
            self._push(f"{path}[{key!r}]", item, (value, key))
        self.tokens.append((path, type(value), *map(kinds.key_of, value)))
        self._members(path, value)

    def _members(self, path: str, keys: Iterable[Any]) -> None:
        """Keys and members of sets that are more than a number or a text."""
        for key in keys:
            if not (isinstance(key, kinds.SCALARS) and is_installed(type(key))):
                self._push(f"{path}[{key!r}]", key)

    def _set(self, path: str, value: Any) -> None:
        """A set, in the order in which its values come when it is looked through."""
        if not all(map(kinds.is_key, value)):
            raise CompileError(f"{path} is a set of objects, which is not watched")
        if not kinds.are_same(value, value.copy()):
            raise CompileError(f"{path} is a set whose copies come in another order")
        self.values.append((functools.partial(kinds.are_same, value, tuple(value)), True))
        self.tokens.append((path, type(value), *map(kinds.key_of, value)))
        self._members(path, value)

    def _sequence(self, path: str, value: Any) -> None:
        if not isinstance(value, tuple):
            self.sequences.append(value)
            self.sequence_names.append(path)
        if isinstance(value, deque):
            self.getters.append((_LONGEST, value))
        self.tokens.append((path, type(value), len(value), getattr(value, "maxlen", None)))
        for i in reversed(range(len(value))):
            self._push(f"{path}[{i}]", value[i], (value, i))

    def _memory(self, path: str, value: Any) -> None:
        if isinstance(value, np.ndarray):
            _must_be_plain(path, value.dtype)
            self.arrays.append((path, value))
        if not isinstance(value, np.ndarray) or value.base is not None:
            self.attributes += ((path, "base"), (path, "obj"))
        if (value if isinstance(value, np.ndarray) else memoryview(value)).nbytes > MAX_ARRAY_BYTES:
            raise CompileError(
                f"the array {path} is too large to watch for changes; register it as a buffer"
            )
        self.values.append((functools.partial(kinds.of_memory, value), kinds.of_memory(value)))
        self.tokens.append((path, type(value), *kinds.of_memory(value)))

    def _wrapper(self, path: str, value: Any, kind: str, *names: str) -> None:
        """What calls a function, and attributes of it that say which, and with what."""
        self.tokens.append((path, kind))
        for name in names:
            self._push(f"{path}.{name}", getattr(value, name))

    def _tensor(self, path: str, tensor: Tensor, place: Place | None) -> None:
        if place is not None and not isinstance(place[0], tuple):
            while path in self.places:  # of another variable of that name
                path += "'"
            self.places[path] = place
            self.tokens.append((path, *kinds.of_tensor(tensor), tensor.requires_grad))
        elif tensor.requires_grad:
            raise CompileError(f"step reads the tensor {path}, which cannot be replaced in a tuple")
        else:  # of which the kernel has its own
            self.tokens.append((path, *kinds.of_tensor(tensor), Itself(tensor)))
        self.tensors.append(tensor)
        self.values.append((functools.partial(tuple, vars(tensor)), tuple(vars(tensor))))
        self.attributes += ((path, name) for name in vars(tensor))

    def _module(self, path: str, module: nn.Module) -> None:
        prefix = path + "." if path else ""
        if isinstance(module, torch.jit.ScriptModule):
            raise CompileError(
                f"{path} is a scripted module, whose code is not Python's; give the cell the "
                "module that was scripted"
            )
        if isinstance(module, Cell):
            _ = module.state_names, module.memory_names  # which a cell notes when first asked
        own = vars(module)
        self.objects.append(module)
        self.owners.append((module, own))
        self.tokens.append((path, "module", Itself(type(module)), module.training))
        self.buffer_tables.append(module._buffers)
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
                self.tokens.append((full, self.seen[id(tensor)], *kinds.of_tensor(tensor), grad))
                self.attributes += ((full, name) for name in vars(tensor))
        self._table(path, module._modules)
        for name, part in reversed(module._modules.items()):
            self._push(prefix + name, part)
        changing = kinds.declared(type(module), "_saiki_changing")
        silent = changing | kinds.declared(type(module), "_saiki_bookkeeping")
        fields = {k: v for k, v in own.items() if k not in _INTERNAL | silent}
        if any(map(_is_of_torch, type(module).__mro__)):  # which reads what no code mentions
            for name, value in fields.items():
                self._push(prefix + name, value, (own, name))
        else:
            self._fields(prefix, fields, own)
        for name in _INTERNAL & own.keys() - _TABLES:
            self._await(prefix + name, name, own[name])
        if changing & own.keys():
            names = [name for name in own if name not in silent]
            self.getters.append((operator.itemgetter(*names), own))
        else:
            self._table(path, own)
        self._class(type(module).__name__, type(module))

    def _object(self, path: str, value: Any) -> None:
        cls = type(value)
        if cls in kinds.VALUES:
            self.tokens.append((path, cls, repr(value)))
            return
        kinds.must_be_watched(f"may read {path}, a {cls.__name__} of", cls.__module__)
        if isinstance(value, logging.Logger):
            self.getters.append((_LOGGER, value))
            self.tokens.append((path, "logger", value.name, value.level, value.disabled))
            return
        if cls.__module__.startswith(("saiki.compiler", "torch")) and is_installed(cls):
            self._of_torch(path, value)
            return
        if is_installed(cls) and (isinstance(value, kinds.CONSTANT) or cls is object):
            self._constant(path, value)
            return
        if kinds.holds_more(cls) and not isinstance(value, kinds.EXTENDED):
            raise CompileError(
                f"step may read {path}, a {cls.__name__}, whose contents cannot be watched"
            )
        self.objects.append(value)
        self.tokens.append((path, "object", Itself(cls)))
        own = self._attributes(path, value)
        if own is not None:
            if "__wrapped__" in own:
                self._push(path + ".__wrapped__", own["__wrapped__"])
            silent = kinds.declared(cls, "_saiki_bookkeeping")
            self._fields(path + ".", {k: v for k, v in own.items() if k not in silent}, own)
            if isinstance(value, types.SimpleNamespace):  # which is compared and shown as a whole
                for name, each in own.items():
                    self._push(f"{path}.{name}", each, (own, name))
        members = kinds.members_of(cls)
        if members:
            self.getters.append((functools.partial(kinds.in_slots, [m for _, m in members]), value))
            for name, member in reversed(members):
                self._offer(f"{path}.{name}", name, kinds.in_slot(member, value))
        self._class(cls.__name__, cls)

    def _of_torch(self, path: str, value: Any) -> None:
        """An object of PyTorch's, all of whose attributes its own code may read."""
        self.tokens.append((path, "object", Itself(value)))
        if isinstance(value, _NAMED):
            return
        own = self._attributes(path, value)
        for name, each in (own or {}).items():
            self._push(f"{path}.{name}", each, (own, name))

    def _constant(self, path: str, value: Any) -> None:
        if isinstance(value, np.dtype):
            _must_be_plain(path, value)
        if any(value is each for each in kinds.READERS) or type(value) in kinds.READERS:
            self._mention({"getattr"})
        if type(value) is super:
            self.getters.append((_SUPER, value))
        self._must_be_followed({getattr(value, "__name__", "")})
        self.tokens.append((path, "object", Itself(value)))
        for part in kinds.parts_of(value):
            self._push(path, part)


def _is_of_torch(cls: type) -> bool:
    """Whether it is a kind of module that PyTorch wrote."""
    return cls is not nn.Module and cls.__module__.startswith("torch.nn.") and is_installed(cls)


def _as_dict(value: OrderedDict[Any, Any]) -> list[Any]:
    return [*dict.keys(value)]


def _of_numpy() -> tuple[Any, ...]:
    """Settings by which numbers of NumPy are divided and written."""
    return (*np.geterr().values(), np.get_printoptions()["legacy"])


def _must_be_plain(path: str, dtype: "np.dtype[Any]") -> None:
    if dtype.names is not None or dtype.metadata or dtype.hasobject:
        raise CompileError(f"{path} is of the type {dtype}, which is not watched")

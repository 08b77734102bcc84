"""What a step reads by name: functions and their variables, globals, classes and modules.

Of users' code all is followed. Of what is installed, it is what the step mentions: the rest stays
as it is.
"""

import abc
import builtins
import functools
import operator
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from saiki.compiler.watch import kinds, whose
from saiki.compiler.watch.answers import why_not_made
from saiki.compiler.watch.code import (
    ALL,
    HIDDEN,
    UNFOLLOWED,
    codes_in,
    functions_of,
    imports_in,
    names_in,
)
from saiki.compiler.watch.kinds import Itself
from saiki.compiler.watch.reach import Reach
from saiki.errors import CompileError

_OPERATORS = {
    f"__{side}{name}__"
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or",
                 "xor", "lshift", "rshift")
    for side in ("", "r", "i")
} | {f"__{name}__" for name in ("neg", "pos", "abs", "invert", "len", "iter", "getitem",
                                "lt", "le", "eq", "ne", "gt", "ge", "getattr",
                                "getattribute")}  # fmt: skip
"""What Python calls of installed classes where no code mentions it."""
_UNWATCHED = {
    **dict.fromkeys(("environ", "environb", "getenv", "getenvb"), ("os", "the environment")),
    "modules": ("sys", "sys.modules"),
}
"""Names of modules that are not watched, each with the module and what is found there."""


class Spaces(Reach):
    """Follows functions, classes and modules."""

    def _table(self, path: str, table: Any) -> None:
        self.tables.append(table)
        self.table_names.append(path)

    def _fields(self, prefix: str, fields: Mapping[str, Any], owner: Any) -> None:
        for name, value in reversed([*fields.items()]):
            self._offer(prefix + name, name, value, (owner, name))

    def _attributes(self, path: str, value: Any) -> dict[str, Any] | None:
        """What an object has in a dictionary of its own."""
        own = kinds.own_of(value)
        if own is not None:
            self.owners.append((value, own))
            self._table(path, own)
        return own

    def _function(self, path: str, function: types.FunctionType) -> None:
        self.getters.append((kinds.FUNCTION, function))
        own = vars(function)
        self._table(path, own)
        self._fields(path + ".", own, own)
        for default in (function.__defaults__, function.__kwdefaults__):
            if default:
                self._push(path + ".defaults", default)
        if whose.is_installed(function):
            whole = Itself(function), Itself(function.__code__)
            self.tokens.append((path, "function", *whole))
            if function.__module__.partition(".")[0] not in whose.LIBRARIES:
                self._closure(function)
            return
        code = function.__code__
        self.codes |= codes_in(code)
        called = function.__name__, function.__qualname__, function.__module__
        self.tokens.append((path, code, *called, function.__doc__))
        self._closure(function)
        loaded, names = names_in(code)
        self._must_be_followed(names)
        known = function.__globals__
        built_in = getattr(function, "__builtins__")  # noqa: B009
        if built_in is not vars(builtins):
            self._table(path, built_in)
        self._globals(known, built_in, loaded, names)
        imported = {name for name in names & sys.modules.keys() if not whose.is_library(name)}
        package = str(known.get("__package__") or known.get("__name__") or "")
        for name in sorted(imported | imports_in(code, package) & sys.modules.keys()):
            if name not in known or name not in loaded:
                self._global(name, sys.modules[name], sys.modules)
        self.named |= names
        self._mention(names)

    def _closure(self, function: types.FunctionType) -> None:
        if function.__closure__:
            self.getters.append((kinds.contents, function.__closure__))
        names = function.__code__.co_freevars
        for name, cell in zip(names, function.__closure__ or (), strict=True):
            if kinds.is_filled(cell):
                self._not_own(name, cell.cell_contents)
                self._push(name, cell.cell_contents, (kinds.CONTENTS, cell))

    def _must_be_followed(self, names: Iterable[str]) -> None:
        unfollowed = sorted(UNFOLLOWED.intersection(names))
        if unfollowed:
            raise CompileError(f"step may read {unfollowed[0]}, which reaches what is not watched")

    def _globals(
        self,
        known: dict[str, Any],
        own: dict[str, Any],
        loaded: Iterable[str],
        names: frozenset[str],
    ) -> None:
        """What those names stand for in a module, or else in what is built in."""
        read = [name for name in loaded if name in known]
        absent = [name for name in loaded if name not in known]
        built_in = [name for name in absent if name in own]
        hidden = [name for name in absent if name in HIDDEN]
        if hidden:
            raise CompileError(f"step calls {hidden[0]}, whose answers are not watched")
        unknown = [name for name in absent if name not in own]
        for table, missing in ((known, absent), (own, unknown)):
            if missing:
                self.values.append((functools.partial(kinds.is_absent, table, missing), True))
        for names_of, table in ((read, known), (built_in, own)):
            if names_of:
                self.getters.append((operator.itemgetter(*names_of, names_of[0]), table))
        for name in reversed(read):
            self._global(name, known[name], known)
        for name in built_in:
            if own is vars(builtins):
                self.tokens.append((name, "built in", kinds.without_owner(own[name])))
            else:
                self._push(name, own[name])

    def _not_own(self, name: str, value: Any) -> None:
        """A step may ask whether a module of its cell is one that it finds elsewhere."""
        if isinstance(value, nn.Module) and id(value) in self.own:
            part = self.own[id(value)]
            what = f"the module {part} of the cell" if part else "the cell itself"
            raise CompileError(
                f"{name} is {what}, which the step finds elsewhere; write what reads it as a "
                f"method, and self{f'.{part}' if part else ''} in place of {name}"
            )

    def _global(self, name: str, value: Any, table: dict[str, Any], key: str = "") -> None:
        """A global of that name, or one of a module, and where it is."""
        if not isinstance(value, types.ModuleType):
            owner = getattr(value, "__self__", None)
            where = str(getattr(value, "__module__", None) or getattr(owner, "__module__", None))
            kinds.must_be_watched(f"calls {name} of", where)
            self._not_own(name, value)
            self.outside.append((name, value))
        self._push(name, value, (table, key or name))

    def _space(self, path: str, module: types.ModuleType) -> None:
        """A module, of which that is read which is named."""
        full = module.__name__
        kinds.must_be_watched("reads", full)
        self.tokens.append((path, "module", full))
        self.objects.append(module)
        self.spaces.append((path, module, set()))
        if whose.is_installed(module):
            return
        self.read_modules[path] = module
        for name, value in vars(module).items():
            if self._has_run(value) or name == "__getattr__":
                self._push(f"{path}.{name}", value)
        if type(module) is not types.ModuleType:
            self._class(type(module).__name__, type(module))

    def _follow_whole_modules(self) -> bool:
        """Where any name may be read, push all that users' modules hold; whether there are more of
        them."""
        if not self.mentioned & ALL or not self.read_modules:
            return False
        for path, module in self.read_modules.items():
            self._table(path, vars(module))
            self._fields(path + ".", vars(module), vars(module))
        self.read_modules.clear()
        return True

    def _follow_names(self) -> bool:
        """Follow what is mentioned of modules, and of installed classes; whether there was more."""
        before = len(self.stack)
        for path, space, done in self.spaces:
            own = vars(space)
            new = (self.named & own.keys()) - done
            if isinstance(space, type):
                new |= (_OPERATORS & own.keys()) - done
            done |= new
            for name in sorted(new):
                self._follow_name(f"{path}.{name}" if path else name, space, name, own[name])
        return len(self.stack) > before

    def _follow_name(self, path: str, space: Any, name: str, value: Any) -> None:
        if isinstance(space, types.ModuleType):
            where, what = _UNWATCHED.get(name, ("", ""))
            if space.__name__ == where:
                raise CompileError(f"step reads {what}, which is not watched")
            self._global(path, value, vars(space), name)
        elif functions := [*functions_of(value)]:
            for function in functions:
                if not whose.is_installed(function):
                    self._push(path, function)
                elif not whose.is_in_place(function, space, name):
                    self.tokens.append((path, "function", Itself(function)))
        elif _is_of_the_class(value):
            self.tokens.append((path, "attribute", Itself(value)))
        else:
            self._push(path, value, (space, name))

    def unfollowed_names(self) -> set[str]:
        """What is there and was not followed, but for what is installed as a module."""
        return {
            name
            for _, space, done in self.spaces
            if isinstance(space, type) or not whose.is_installed(space)
            for name in vars(space).keys() - done
        }

    def watch_spaces(self) -> None:
        """Compare what was followed there, and how much there is, but for installed modules, which
        others join at any time."""
        for _, space, done in self.spaces:
            own = vars(space)
            if isinstance(space, type) or not whose.is_installed(space):
                self.values.append((own.__len__, len(own)))
            if done:
                names = sorted(done)
                self.getters.append((operator.itemgetter(*names, names[0]), own))

    def _class(self, path: str, cls: type) -> None:
        new = [base for base in cls.__mro__ if base not in self.classes]
        self.classes.update(new)
        for base in new:
            self._see(base)
            if type(base) is not type:
                self._metaclass(path, base)
            own = vars(base)
            if whose.is_installed(base):
                self._installed_class(base, own)
                continue
            self._table(path, own)
            self.getters.append((kinds.CLASS, base))
            read = {k: v for k, v in own.items() if k not in kinds.UNREAD}
            self.class_tables.append((base.__name__, base, dict(read)))
            bases = tuple(map(Itself, base.__bases__))
            names = [k for k, v in read.items() if k not in kinds.SELDOM or self._has_run(v)]
            self.tokens.append((base.__qualname__, base.__name__, bases, tuple(names)))
            for name, value in reversed(read.items()):
                if _is_special(name, value):
                    self._push(f"{base.__name__}.{name}", value)
                else:
                    self._offer(f"{base.__name__}.{name}", name, value)

    def _metaclass(self, path: str, cls: type) -> None:
        """What answers for the class itself, and which others are said to be of it."""
        self.objects.append(cls)
        if not whose.is_installed(type(cls)):
            self._class(path, type(cls))
        if isinstance(cls, abc.ABCMeta):
            self.values.append((abc.get_cache_token, abc.get_cache_token()))
            subclasses = [c for c in kinds.virtual_subclasses(cls) if not whose.is_installed(c)]
            self.tokens.append((path, frozenset(map(Itself, subclasses))))

    def _installed_class(self, cls: type, own: Mapping[str, Any]) -> None:
        """A class of an installed package; what its functions mention is followed in objects."""
        if why := why_not_made(cls):
            raise CompileError(f"step {why}")
        if whose.is_changeable(cls):
            self.spaces.append((cls.__name__, cls, set()))
        if not cls.__module__.startswith(("torch", "builtins")):
            for each in own.values():
                if isinstance(each, types.FunctionType):
                    self._mention(names_in(each.__code__)[1] - ALL - kinds.SELDOM)


def _is_of_the_class(value: Any) -> bool:
    """Whether it is what installed classes hold: what answers for an attribute, or is called."""
    if isinstance(value, kinds.BUILT_IN) or not whose.is_installed(type(value)):
        return False
    return hasattr(type(value), "__get__") or callable(value)


def _is_special(name: str, value: Any) -> bool:
    """Whether Python calls it where no code mentions it."""
    if name in ("__match_args__", "__abstractmethods__"):
        return True
    if not name.startswith("__") or isinstance(value, type):
        return False
    if name in kinds.SELDOM and any(functions_of(value)):
        return False
    return callable(value) or isinstance(value, classmethod)

"""What a kernel depends on beside the arguments of ``step``: found once, watched at every call.

A step reads attributes of its cell, of the modules, objects, lists and dictionaries in it, and
globals and closures; and it is the code of some functions. All of them are followed from the cell
on (:mod:`saiki.compiler.watch.fingerprint`). Asking a :class:`Watch` whether anything has changed
compares identities alone, some microseconds; only where one differs, everything is walked through
anew and the *fingerprint* of it compared.
"""

import operator
from collections.abc import Callable, Mapping
from itertools import chain, repeat
from typing import Any

import torch
from torch import Tensor, nn

from saiki.compiler.watch.code import MODES, NOTHING, Ran
from saiki.compiler.watch.fingerprint import Fingerprint
from saiki.compiler.watch.kinds import ABSENT, are_same, contents
from saiki.compiler.watch.reach import Place

_SIZES = operator.attrgetter("shape", "dtype")
_KIND = operator.attrgetter("shape", "dtype", "requires_grad")
_OWN = operator.attrgetter("__dict__")
_get = object.__getattribute__
_DICT = repeat("__dict__")


class Watch:
    """All that a step depends on, as it is now.

    Args:
        ran: what it was seen to run beside the code to which the cell leads.

    Raises:
        CompileError: it is more than can be watched, or changes by chance.
    """

    def __init__(self, cell: nn.Module, ran: Ran = NOTHING) -> None:
        walk = Fingerprint(cell, ran)
        self.fingerprint = (*walk.tokens, *enumerate(_settings()))
        self.places: dict[str, Place] = walk.places
        """Of each distinct tensor: parameters, buffers, then others, by their path in the cell."""
        self.parameters = walk.parameters
        """How many of them are parameters and buffers of the cell."""
        self.hooks = [h for m in walk.objects if isinstance(m, nn.Module) for h in hooks_of(m)]
        own_gradients = {"grad"} if "autograd" not in walk.mentioned else set()
        self.modes_read = sorted(walk.mentioned & (MODES | own_gradients))
        """What the code reads that tells in which mode it runs."""
        self.walk = walk
        self._tensors = [table.values() for table in walk.tensor_tables]
        self._buffers = [table.values() for table in walk.buffer_tables if table]
        self._pattern = self._now_pattern()
        self._empty = [x for x in (*walk.tables, *walk.tensor_tables, *walk.sequences) if not x]
        self._tables = [table for table in (*walk.tables, *walk.tensor_tables) if table]
        self._keys = [*chain.from_iterable(self._tables)]
        self._odd_keys = [(k, key) for k, key in enumerate(self._keys) if type(key) is not str]
        self._views: list[Any] = [table.values() for table in walk.tables if table]
        self._views += filter(None, walk.sequences)
        self._sized = [*self._tables, *filter(None, walk.sequences)]
        self._sizes = [*map(len, self._sized)]
        self._values = [*chain.from_iterable(self._views)]
        self._types = [*map(type, walk.objects)]
        self._owners = [owner for owner, _ in walk.owners]
        self._owned = [own for _, own in walk.owners]
        self._read = self._now_read()

    def unchanged(self) -> bool:
        """Whether everything is as it was, identity by identity."""
        try:
            return (
                all(map(operator.is_, chain.from_iterable(self._views), self._values))
                and [*map(len, self._sized)] == self._sizes
                and not any(self._empty)
                and self._same_keys()
                and all(map(operator.is_, map(type, self.walk.objects), self._types))
                and all(map(operator.is_, map(_get, self._owners, _DICT), self._owned))
                and all(map(operator.is_, self._now_read(), self._read))
                and self._now_pattern() == self._pattern
                and all(now() == before for now, before in self.walk.values)
            )
        except Exception:
            return False  # what was there is gone, or changes under our hands

    def _same_keys(self) -> bool:
        """Texts are compared as such; of other keys, equal ones need not be the same."""
        keys = [*chain.from_iterable(self._tables)]
        return keys == self._keys and all(keys[i] is key for i, key in self._odd_keys)

    def changes_since(self, before: "Watch") -> list[str]:
        """The names of what is another than it was."""
        return sorted(str(new[0]) for new in set(self.fingerprint) - set(before.fingerprint))

    def renewed(self, cell: nn.Module) -> "Watch":
        """What a step that runs the same depends on now."""
        return Watch(cell, self.walk.ran)

    def tensors(self) -> list[Tensor]:
        """The distinct tensors as they now are, in the order of ``places``."""
        return [owner[key] for owner, key in self.places.values()]

    def _now_read(self) -> list[Any]:
        """What lies in no container that could be looked through: fields of functions, variables
        of closures, globals."""
        values = _settings()
        for get, source in self.walk.getters:
            values += get(source)
        return values

    def _now_pattern(self) -> list[Any]:
        """Which of the tensors in modules are there and the same, the names of their attributes,
        how large all tensors are, and which that are no parameters are learnt."""
        places = [*chain.from_iterable(self._tensors)]
        tensors = [tensor for tensor in places if tensor is not None]
        pattern = [*(tensor is None for tensor in places), *map(_SIZES, tensors)]
        pattern += map(_KIND, self.walk.tensors)
        pattern += [t is not None and t.requires_grad for t in chain.from_iterable(self._buffers)]
        if any(map(_OWN, tensors)):
            pattern += map(tuple, map(_OWN, tensors))
        if len(set(map(id, tensors))) < len(tensors):
            first: dict[int, int] = {}
            pattern += (first.setdefault(id(t), i) for i, t in enumerate(tensors))
        return pattern

    def remember(self) -> Callable[[], str]:
        """Note what all containers hold; the function returned puts it back, and returns the
        name of one that had changed, or nothing."""
        walk = self.walk
        sequences = [
            (name, s, list(s)) for name, s in zip(walk.sequence_names, walk.sequences, strict=False)
        ]
        tables = [(name, t, dict(t)) for name, t in zip(walk.table_names, walk.tables, strict=True)]
        read = [(get, source, tuple(get(source))) for get, source in walk.getters]
        arrays = [(name, array, array.copy()) for name, array in walk.arrays]

        def restore() -> str:
            changed = ""
            for name, array, copy in arrays:
                if array.tobytes() != copy.tobytes():
                    changed = name
                    array[...] = copy
            for name, sequence, content in sequences:
                if not are_same(sequence, content):
                    changed = name
                    sequence.clear()
                    sequence.extend(content)
            for name, table, values in tables:
                if are_same(table, values) and are_same(table.values(), values.values()):
                    continue
                changed = name
                if isinstance(table, dict):
                    table.clear()
                    table.update(values)
            for get, source, before in read:
                if are_same(get(source), before):
                    continue
                if get is contents:
                    changed = "a variable of its closure"
                    for cell, value in zip(source, before, strict=True):
                        if value is not ABSENT:
                            cell.cell_contents = value
                elif isinstance(source, dict):
                    values = dict(zip(get.__reduce__()[1], before, strict=True))
                    changed = next(name for name in values if source[name] is not values[name])
                    source.update(values)
            for name, owner, own in walk.class_tables:
                for key in [k for k, v in own.items() if vars(owner).get(k) is not v]:
                    changed = f"{name}.{key}"
                    setattr(owner, key, own[key])
            return changed

        return restore


def _settings() -> list[Any]:
    """Settings of the process that steps may depend on."""
    return [torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()]


def hooks_of(module: nn.Module) -> list[Mapping[Any, Any]]:
    """Where the hooks of a module are."""
    return [
        module._forward_hooks, module._forward_pre_hooks, module._backward_hooks,
        module._backward_pre_hooks,
    ]  # fmt: skip


def all_hooks(cell: nn.Module) -> list[Mapping[Any, Any]]:
    """Where the hooks of a cell and of the modules in it are."""
    return [hooks for module in cell.modules() for hooks in hooks_of(module)]

"""Mappings that keep nothing alive, and run nothing when something dies.

Those of :mod:`weakref` take an entry away in a callback, which is code of Python: a Ctrl-C that
arrives in one is printed and forgotten. Here an entry goes when the next one comes.
"""

import weakref
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class WeakValues(Generic[K, V]):
    """Values by their keys, as long as somebody else holds them.

    >>> class Thing: pass
    >>> known, thing = WeakValues(), Thing()
    >>> known["a"] = thing
    >>> known.get("a") is thing, len(known)
    (True, 1)
    >>> del thing
    >>> known.get("a"), len(known)
    (None, 0)
    """

    def __init__(self) -> None:
        self._held: dict[K, weakref.ref[V]] = {}

    def get(self, key: K) -> V | None:
        held = self._held.get(key)
        return None if held is None else held()

    def __setitem__(self, key: K, value: V) -> None:
        alive = {k: held for k, held in self._held.copy().items() if held() is not None}
        self._held = {**alive, key: weakref.ref(value)}

    def __len__(self) -> int:
        return sum(held() is not None for held in self._held.copy().values())

    def clear(self) -> None:
        self._held = {}


class WeakKeys(Generic[K, V]):
    """What is known of objects, each itself and no equal one. It is kept until the next is added
    after its object has died.

    >>> class Thing: pass
    >>> known, thing, other = WeakKeys(), Thing(), Thing()
    >>> known[thing] = 3
    >>> known.get(thing), known.get(other)
    (3, None)
    """

    def __init__(self) -> None:
        self._held: list[tuple[weakref.ref[K], V]] = []

    def get(self, key: K) -> V | None:
        return next((value for held, value in self._held if held() is key), None)

    def __setitem__(self, key: K, value: V) -> None:
        others = [(held, v) for held, v in self._held if held() is not None and held() is not key]
        self._held = [*others, (weakref.ref(key), value)]

"""Mappings that keep nothing alive, and in which no code runs when something dies."""

import gc
import weakref
from pathlib import Path

import pytest

import saiki
from saiki.weak import WeakKeys, WeakValues


class Thing:
    """Equal to every other."""

    def __eq__(self, other):
        return True

    __hash__ = None


def test_values_are_there_as_long_as_somebody_holds_them():
    known, things = WeakValues(), {key: Thing() for key in "abc"}
    for key, thing in things.items():
        known[key] = thing
    assert all(known.get(key) is thing for key, thing in things.items())
    del things["b"], thing
    assert (known.get("b"), len(known)) == (None, 2)
    known["b"] = other = Thing()
    assert known.get("b") is other
    assert len(known._held) == len(known) == 3
    known.clear()
    assert (known.get("a"), len(known)) == (None, 0)


def test_keys_are_themselves_and_what_is_known_of_the_dead_goes_with_the_next():
    known, one, other = WeakKeys(), Thing(), Thing()
    known[one], known[other] = [1], [2]
    assert (known.get(one), known.get(other), known.get(Thing())) == ([1], [2], None)
    known[one] = value = weakref.WeakSet()
    assert known.get(one) is value
    reference = weakref.ref(value)
    del one, value
    known[other] = [3]
    assert reference() is None
    assert known.get(other) == [3]


@pytest.mark.parametrize("kind", [WeakValues, WeakKeys])
def test_no_callback_is_called_when_something_dies(kind):
    known, thing = kind(), Thing()
    if kind is WeakValues:
        known["a"] = thing
    else:
        known[thing] = "a"
    assert [r.__callback__ for r in weakref.getweakrefs(thing)] == [None]


CALLED = ("gc.callbacks", "weakref.finalize", "def __del__", "WeakValueDictionary(",
          "WeakKeyDictionary(", "WeakSet(", "weakref.WeakMethod")  # fmt: skip


def test_no_code_of_ours_is_called_by_the_collector_or_when_something_dies():
    """A Ctrl-C that arrives in such code is printed and forgotten."""
    folder = Path(saiki.__file__).parent
    files = [*folder.rglob("*.py")]
    assert len(files) > 400
    calls = [(f.name, w) for f in files for w in CALLED if w in f.read_text(encoding="utf-8")]
    assert calls == []
    assert not [c for c in gc.callbacks if "saiki" in getattr(c, "__module__", "")]

"""What a step reads where no line of it says so: calls that C code makes, keys, kinds, modules.

A case returns what a step reads and what changes it, and also what undoes that where it lasts;
what it sets by ``patch`` is undone by itself.
"""

import abc
import builtins
import collections
import collections.abc
import enum
import importlib
import itertools
import math
import operator
import os
import sys
import types
from functools import partial
from operator import setitem

import pytest
import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from compiler.changing import Cases, activated, check_change, scaled
from compiler.twins import OF_PYTORCH, ignored
from saiki import Cell

pytestmark = [
    ignored("running step by step:UserWarning"),
    *map(ignored, OF_PYTORCH),
]

changes = Cases()
RATE = 0.5


class Gate:
    def __init__(self, rates):
        self.rates = rates


def of(module):
    return module.rate_of_a_test


def closing_over(rates):
    return lambda: rates[0]


# what C code calls


class Limited:
    __index__ = sys.getrecursionlimit


CALLED = {
    "by a partial": lambda get=sys.getrecursionlimit: partial(get)(),
    "by a map": lambda get=sys.getrecursionlimit: next(itertools.starmap(get, [()])),
    "by an iterator": lambda get=sys.getrecursionlimit: next(iter(get, None)),
    "by a dictionary": lambda get=sys.getrecursionlimit: collections.defaultdict(get)[0],
    "by its name": lambda: operator.methodcaller("getrecursion" + "limit")(sys),
    "by an object": lambda: operator.index(Limited()),
    "by a range": lambda: len(range(Limited())),
}


@pytest.mark.parametrize("read", CALLED.values(), ids=CALLED)
def test_a_change_of_a_setting_that_c_code_asks_for_is_noticed(read):
    before = sys.getrecursionlimit()
    change, undo = (partial(sys.setrecursionlimit, n) for n in (before + 900, before))
    check_change(lambda: read() / 5000, change, undo)


def test_a_change_of_the_folder_is_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deeper").mkdir()
    get = partial(os.getcwd)
    check_change(lambda: len(get()) / 100, partial(os.chdir, tmp_path / "deeper"))


@changes
def which_object_it_is(patch):
    gates = [Gate([]), Gate([])]
    return lambda: object.__hash__(gates[0]) % 9973 / 9973, gates.reverse


# what PyTorch's objects hold

OBJECTS = {
    "an optimizer": (
        lambda: torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5),
        lambda held, s: held.param_groups[0]["lr"] * s,
        lambda held: setitem(held.param_groups[0], "lr", 0.7),
    ),
    "a distribution": (
        lambda: Normal(0.0, 1.0, validate_args=False),
        lambda held, s: held.log_prob(s),
        lambda held: setattr(held, "loc", torch.tensor(0.3)),
    ),
}


@pytest.mark.parametrize(("make", "function", "change"), OBJECTS.values(), ids=OBJECTS)
def test_a_change_of_an_object_of_pytorch_is_noticed(make, function, change):
    held = make()
    subject = activated(lambda self, s: torch.tanh(function(held, s)))
    check_change(subject, lambda: change(held))


def four(s):
    """Numbers of any shape as four to a row, by which they differ."""
    return F.pad(s.flatten(1), (0, 4))[:, :4]


TUPLES = {
    "stride": (lambda: nn.Conv1d(1, 1, 3, padding=1), lambda s: s.unsqueeze(1), "stride", (2,)),
    "shape": (
        lambda: nn.LayerNorm((4,), elementwise_affine=False),
        lambda s: torch.stack([s, 2 * s + 1], 1),
        "normalized_shape",
        (2, 4),
    ),
    "size": (lambda: nn.Unflatten(1, (2, 2)), lambda s: s, "unflattened_size", (4, 1)),
}


@pytest.mark.parametrize(("make", "before", "name", "other"), TUPLES.values(), ids=TUPLES)
def test_a_change_of_a_tuple_of_a_module_is_noticed(make, before, name, other):
    def read(self, s):
        return torch.tanh(four(self.part(before(s)).cumsum(-1).sum(1, keepdim=True)))

    part = make()
    check_change(activated(read, part=part), partial(setattr, part, name, other))


@changes
def what_the_call_of_one_module_does(patch):
    subject = scaled(lambda self: 0.5)
    return subject, partial(
        setattr, subject.W, "_call_impl", lambda x: F.linear(x, subject.W.weight) * 0.7
    )


# what is changed of classes that are installed

OPERATORS = {
    "minus": ("__neg__", lambda s: s * 0.3, lambda self, s: torch.sigmoid(-s)),
    "a power": ("__pow__", lambda s, by: s * 0.3, lambda self, s: torch.tanh(s**2)),
}


@pytest.mark.parametrize(("name", "other", "function"), OPERATORS.values(), ids=OPERATORS)
def test_another_operator_of_tensors_is_noticed(name, other, function, monkeypatch):
    check_change(activated(function), partial(monkeypatch.setattr, torch.Tensor, name, other))


@pytest.mark.parametrize("owner", [nn.Linear, Cell])
def test_a_change_of_an_object_that_hangs_on_a_class_is_noticed(owner, monkeypatch):
    held = Gate([0.5])
    monkeypatch.setattr(owner, "settings", held, raising=False)
    subject = scaled(lambda self: (self if owner is Cell else self.W).settings.rates[0])
    check_change(subject, partial(setattr, held, "rates", [0.7]))


# what PyTorch asks of an object that it is given


class Rate:
    def __init__(self):
        self.value = RATE


class Place:
    def __index__(self):
        return int(Rate().value > 0.6)


class Factor:
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return args[0] * Rate().value


PLACE, FACTOR = Place(), Factor()
OF_TENSORS = {
    "a place": lambda s: s[:, PLACE].unsqueeze(1) + s,
    "a product": lambda s: torch.mul(s, FACTOR),
}


@pytest.mark.parametrize("function", OF_TENSORS.values(), ids=OF_TENSORS)
def test_a_change_of_what_pytorch_asks_for_is_noticed(function, monkeypatch):
    subject = activated(lambda self, s: torch.tanh(function(s)))
    check_change(subject, partial(monkeypatch.setitem, globals(), "RATE", 0.7))


@changes
def what_an_operation_of_its_own_computes(patch):
    rates = [0.5]
    library = torch.library.Library("operations_of_a_test", "FRAGMENT")
    library.define("turned(Tensor x) -> Tensor")
    library.impl("turned", lambda x: x * rates[0], "CompositeImplicitAutograd")
    subject = activated(lambda self, s: torch.tanh(torch.ops.operations_of_a_test.turned(s)))
    return subject, partial(setitem, rates, 0, 0.7), library._destroy


# modules


@changes
def an_installed_module_that_is_handed_on(patch):
    patch.setattr(math, "rate_of_a_test", 0.5, raising=False)
    return lambda: of(math), partial(patch.setattr, math, "rate_of_a_test", 0.7)


@changes
def what_a_module_looks_up_in_a_dictionary(patch):
    rates = {"rate": 0.5}
    settings = types.ModuleType("settings_of_a_test")
    settings.__getattr__ = rates.__getitem__
    return lambda: settings.rate, partial(setitem, rates, "rate", 0.7)


def unless(error, read):
    def looked_up():
        try:
            return read()
        except error:
            return 0.5

    return looked_up


@changes
def a_built_in_that_comes(patch):
    read = unless(NameError, lambda: rate_of_a_test)  # noqa: F821
    return read, partial(patch.setattr, builtins, "rate_of_a_test", 0.7, raising=False)


@changes
def a_variable_around_a_function_that_comes(patch):
    def fill():
        nonlocal rate
        rate = 0.7

    read = unless(NameError, lambda: rate)  # noqa: F821
    rate = 0.5
    del rate
    return read, fill


# keys


class Key(str):
    pass


def member(value):
    return enum.Enum("Mode", {"FAST": value}).FAST


KEYS = {
    "a text": (lambda: Key("a"), lambda key: {key: 1}),
    "a class": (lambda: type("Gate", (), {}), lambda key: {key: 1}),
    "a function": (lambda: lambda: None, lambda key: {key: 1}),
    "a member": (lambda: member(1), lambda key: {key: 1}),
    "a class of a set": (lambda: type("Gate", (), {}), lambda key: {key}),
}


@pytest.mark.parametrize(("make", "container"), KEYS.values(), ids=KEYS)
def test_a_change_of_an_attribute_of_a_key_is_noticed(make, container):
    key = make()
    key.rate = 0.5
    held = container(key)
    check_change(lambda: sum(key.rate for key in held), partial(setattr, key, "rate", 0.7))


@changes
def the_value_of_a_member_that_is_a_key(patch):
    held = {member([0.5]): 1}
    return lambda: sum(k.value[0] for k in held), partial(setitem, next(iter(held)).value, 0, 0.7)


@changes
def what_a_function_that_is_a_key_closes_over(patch):
    rates, others = [0.5], [0.5]
    read, held = closing_over(rates), {closing_over(others): 1}
    return lambda: read() + sum(k() for k in held), partial(setitem, others, 0, 0.7)


# kinds


def kinds():
    """A class of which others may be said to be one, and one that is none of it yet."""
    return abc.ABCMeta("Base", (), {}), type("Other", (), {})


@changes
def what_counts_as_a_class_above_another(patch):
    base, other = kinds()
    kind, held = type("Kind", (base,), {}), other()
    gate = kind()
    return (
        lambda: 0.5 if isinstance(gate, kind) and not isinstance(held, base) else 0.7,
        partial(base.register, other),
    )


@changes
def what_counts_as_a_class_that_counts_as_another(patch):
    base, other = kinds()
    middle = abc.ABCMeta("Middle", (), {})
    base.register(middle)
    return lambda: 0.7 if issubclass(other, base) else 0.5, partial(middle.register, other)


@changes
def what_counts_as_a_kind_of_sequence(patch):
    held = type("Other", (), {})()
    return (
        lambda: 0.7 if isinstance(held, collections.abc.Sequence) else 0.5,
        partial(collections.abc.MutableSequence.register, type(held)),
    )


@changes
def whether_a_class_is_abstract(patch):
    class Gate(abc.ABC):
        @abc.abstractmethod
        def rate(self): ...

    read = unless(TypeError, lambda: Gate() and 0.7)
    return read, partial(setattr, Gate, "__abstractmethods__", frozenset())


# attributes


@changes
def an_attribute_whose_name_begins_like_those_of_saiki(patch):
    subject = scaled(lambda self: self._saiki_rate, _saiki_rate=0.5)
    return subject, partial(setattr, subject, "_saiki_rate", 0.7)


@changes
def an_attribute_that_a_class_of_users_lists_as_bookkeeping(patch):
    subject = scaled(lambda self: self.rate, rate=0.5)
    type(subject)._saiki_bookkeeping = type(subject)._saiki_changing = ("rate",)
    return subject, partial(setattr, subject, "rate", 0.7)


@changes
def an_attribute_that_a_map_formats(patch):
    gate, text = Gate([0.5]), "{0.rat" + "es[0]}"
    return lambda: float(next(map(text.format, [gate]))), partial(setitem, gate.rates, 0, 0.7)


@changes
def a_slot_under_another_name(patch):
    class Slotted:
        __slots__ = ("rates",)

    Slotted.other = vars(Slotted)["rates"]
    gate = Slotted()
    gate.rates = [0.5]
    return lambda: gate.other[0], partial(setitem, gate.rates, 0, 0.7)


@changes
def how_the_numbers_of_a_weight_lie(patch):
    subject = activated(lambda self, s: torch.tanh(s + self.U.weight.as_strided((4,), (1,), 1)))
    weight = subject.U.weight
    return subject, lambda: setattr(weight, "data", weight.detach().t().contiguous().t())


# other modules

LIBRARY = """
from torch import nn

class Scale(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def forward(self, h):
        return scaled(h, self.gate)

def scaled(h, gate):
    return h * gate.rates[0]
"""
READING = """
def read():
    from .settings import rate
    return rate
"""


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Imports a module of that name and text, which is beside the tests or installed."""

    def imports(name, text, package="."):
        path = (tmp_path / package / name.replace(".", "/")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path / package)
        return importlib.import_module(name)

    yield imports
    for name in [name for name in sys.modules if name.startswith("imported_by_a_test")]:
        del sys.modules[name]


def test_a_change_of_what_a_step_imports_from_beside_it_is_noticed(imported):
    settings = imported("imported_by_a_test.settings", "rate = 0.5")
    reading = imported("imported_by_a_test.reading", READING)
    check_change(lambda: reading.read(), partial(setattr, settings, "rate", 0.7))


RELATIVE = {
    "by itself": lambda library, gate: activated(
        lambda self, s: torch.tanh(self.part(s)), part=library.Scale(gate)
    ),
    "by PyTorch": lambda library, gate: activated(
        lambda self, s: torch.tanh(checkpoint(library.scaled, s, gate, use_reentrant=False))
    ),
}


@pytest.mark.parametrize("make", RELATIVE.values(), ids=RELATIVE)
def test_a_change_of_what_a_library_reads_is_noticed(make, imported):
    gate = Gate([0.5])
    library = imported("imported_by_a_test", LIBRARY, package="site-packages")
    check_change(make(library, gate), partial(setitem, gate.rates, 0, 0.7))


@pytest.mark.parametrize("case", changes, ids=lambda case: case.__name__)
def test_a_change_is_noticed(case, monkeypatch):
    check_change(*case(monkeypatch))

"""What a step reads where no line of it says so: calls that C code makes, keys, kinds, modules.

A case returns what a step reads and what changes it, and also what undoes that where it lasts;
what it sets by ``patch`` is undone by itself.
"""

import abc
import builtins
import collections
import collections.abc
import dataclasses
import enum
import importlib
import itertools
import math
import operator
import os
import sys
import types
import weakref
from functools import partial
from operator import setitem

import pytest
import torch
from torch import nn
from torch.distributions import Distribution, Normal, kl
from torch.distributions.transforms import AffineTransform
from torch.nn import functional as F
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from compiler.changing import activated, check_change, scaled
from compiler.twins import OF_PYTORCH, ignored, linear
from saiki import Cell

pytestmark = [ignored("running step by step:UserWarning"), *map(ignored, OF_PYTORCH)]

CASES = []


def changes(case):
    CASES.append(case)
    return case


def of(module):
    return module.rate_of_a_test


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
def how_many_weak_references_there_are(patch):
    class Gate:
        pass

    gate, held = Gate(), []
    return lambda: weakref.getweakrefcount(gate) / 10 + 0.1, lambda: held.extend(
        weakref.ref(gate, lambda gone, i=i: i) for i in range(3)
    )


@changes
def which_object_it_is(patch):
    class Gate:
        pass

    gates, held = [Gate()], []

    def other():
        held.append(gates[0])
        gates[0] = Gate()

    return lambda: object.__hash__(gates[0]) % 9973 / 9973, other


# what PyTorch's objects hold


@changes
def the_scale_of_a_transform(patch):
    transform = AffineTransform(0.0, 0.5)
    return activated(lambda self, s: torch.tanh(transform(s))), partial(
        setattr, transform, "scale", 0.7
    )


@changes
def the_rate_of_an_optimizer(patch):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    return lambda: optimizer.param_groups[0]["lr"], partial(
        setitem, optimizer.param_groups[0], "lr", 0.7
    )


@changes
def the_mean_of_a_distribution(patch):
    normal = Normal(0.0, 1.0, validate_args=False)
    return activated(lambda self, s: torch.tanh(normal.log_prob(s))), partial(
        setattr, normal, "loc", torch.tensor(0.3)
    )


@changes
def the_length_of_a_data_set(patch):
    data = torch.utils.data.TensorDataset(torch.zeros(3))
    return lambda: len(data) / 7, partial(setattr, data, "tensors", (torch.zeros(5),))


def four(s):
    """Numbers of any shape as four to a row, by which they differ."""
    return F.pad(s.flatten(1), (0, 4))[:, :4]


TUPLES = {
    "stride": (lambda: nn.Conv1d(1, 1, 3, padding=1), lambda s: s.unsqueeze(1), "stride", (2,)),
    "padding": (lambda: nn.ConstantPad1d((1, 0), 0.0), lambda s: s, "padding", (2, 0)),
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
    its = scaled(lambda self: 0.5)
    return its, partial(setattr, its.W, "_call_impl", lambda x: F.linear(x, its.W.weight) * 0.7)


# what is changed of classes that are installed

OPERATORS = {
    "minus": ("__neg__", lambda s: s * 0.3, lambda self, s: torch.sigmoid(-s)),
    "a power": ("__pow__", lambda s, by: s * 0.3, lambda self, s: torch.tanh(s**2)),
    "a product": (
        "__matmul__",
        lambda s, by: s * 0.3,
        lambda self, s: torch.tanh(s @ self.U.weight),
    ),
}


@pytest.mark.parametrize(("name", "other", "function"), OPERATORS.values(), ids=OPERATORS)
def test_another_operator_of_tensors_is_noticed(name, other, function, monkeypatch):
    check_change(activated(function), partial(monkeypatch.setattr, torch.Tensor, name, other))


@changes
def the_call_of_a_kind_of_module(patch):
    return activated(lambda self, s: torch.tanh(s)), partial(
        patch.setattr, nn.Linear, "__call__", lambda self, x: F.linear(x, self.weight) * 0.7
    )


@pytest.mark.parametrize("owner", [nn.Linear, nn.Module, Cell])
def test_a_change_of_an_object_that_hangs_on_a_class_is_noticed(owner, monkeypatch):
    class Settings:
        def __init__(self):
            self.rate = 0.5

    held = Settings()
    monkeypatch.setattr(owner, "settings", held, raising=False)
    its = scaled(lambda self: (self if owner is Cell else self.W).settings.rate)
    check_change(its, partial(setattr, held, "rate", 0.7))


# what PyTorch asks of an object that it is given


class Gate:
    def __init__(self, rates):
        self.rates = rates


class Text(Gate):
    def __str__(self):
        return "a" * int(self.rates[0] * 2.9)


class Number(Gate):
    def __float__(self):
        return self.rates[0]


class Place(Gate):
    def __index__(self):
        return len(f"{Text(self.rates)}")


class Sequence(Gate):
    def __len__(self):
        return len(self.rates)

    def __getitem__(self, i):
        return self.rates[i]


class Factor(Gate):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return args[0] * args[1].rates[0]


ASKED = {
    "number": (Number, lambda s, held: s * torch.tensor(held, dtype=s.dtype)),
    "place": (Place, lambda s, held: s[:, held].unsqueeze(1) + s),
    "numbers": (Sequence, lambda s, held: s * s.new_tensor(held)),
    "product": (Factor, lambda s, held: torch.mul(s, held)),
}


@pytest.mark.parametrize(("kind", "function"), ASKED.values(), ids=ASKED)
def test_a_change_of_what_pytorch_asks_for_is_noticed(kind, function):
    rates = [0.5]
    held = kind(rates)
    its = activated(lambda self, s: torch.tanh(function(s, held)))
    check_change(its, partial(setitem, rates, 0, 0.7))


@changes
def what_an_operation_of_its_own_computes(patch):
    rates = [0.5]
    library = torch.library.Library("operations_of_a_test", "FRAGMENT")
    library.define("turned(Tensor x) -> Tensor")
    library.impl("turned", lambda x: x * rates[0], "CompositeImplicitAutograd")
    its = activated(lambda self, s: torch.tanh(torch.ops.operations_of_a_test.turned(s)))
    return its, partial(setitem, rates, 0, 0.7), library._destroy


@changes
def what_is_registered_for_two_distributions(patch):
    kind = type("Kind", (Distribution,), {})
    held = kind.__new__(kind)
    patch.setattr(kl, "_KL_MEMOIZE", {})
    patch.setitem(kl._KL_REGISTRY, (kind, kind), lambda p, q: 0.5)

    def change():
        patch.setitem(kl._KL_REGISTRY, (kind, kind), lambda p, q: 0.7)
        kl._KL_MEMOIZE.clear()

    return lambda: kl.kl_divergence(held, held), change


# modules


def module(name, **attributes):
    made = types.ModuleType(name)
    vars(made).update(attributes)
    return made


@changes
def a_module_that_is_handed_on(patch):
    settings = module("settings_of_a_test", rate_of_a_test=0.5)
    return lambda: of(settings), partial(setattr, settings, "rate_of_a_test", 0.7)


@changes
def an_installed_module_that_is_handed_on(patch):
    patch.setattr(math, "rate_of_a_test", 0.5, raising=False)
    return lambda: of(math), partial(patch.setattr, math, "rate_of_a_test", 0.7)


@changes
def an_installed_module_that_is_returned(patch):
    def pick():
        return math

    patch.setattr(math, "rate_of_a_test", 0.5, raising=False)
    return lambda: pick().rate_of_a_test, partial(patch.setattr, math, "rate_of_a_test", 0.7)


@changes
def the_first_of_two_modules_with_one_name(patch):
    one, two = (module("settings_of_a_test", rate=0.5) for _ in range(2))
    return lambda: one.rate + two.rate, partial(setattr, one, "rate", 0.7)


@changes
def what_a_module_looks_up_in_a_dictionary(patch):
    rates = {"rate": 0.5}
    settings = module("settings_of_a_test", __getattr__=rates.__getitem__)
    return lambda: settings.rate, partial(setitem, rates, "rate", 0.7)


def unless(missing, read):
    def found():
        try:
            return read()
        except missing:
            return 0.5

    return found


@changes
def a_variable_that_a_module_gets(patch):
    settings = module("settings_of_a_test")
    read = unless(AttributeError, lambda: settings.rate)
    return read, partial(setattr, settings, "rate", 0.7)


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


IMPORTS = [
    "from .settings import rate; return rate",
    "from . import settings; return settings.rate",
]


@pytest.mark.parametrize("imports", IMPORTS, ids=["a name", "a module"])
def test_a_change_of_what_a_step_imports_from_beside_it_is_noticed(imports, tmp_path, monkeypatch):
    folder = tmp_path / "package_of_a_test"
    folder.mkdir()
    for name, text in {
        "__init__": "",
        "settings": "rate = 0.5\n",
        "reading": f"def read():\n    {imports}\n",
    }.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        read = importlib.import_module("package_of_a_test.reading").read
        settings = importlib.import_module("package_of_a_test.settings")
        check_change(read, partial(setattr, settings, "rate", 0.7))
    finally:
        for name in [name for name in sys.modules if name.startswith("package_of_a_test")]:
            del sys.modules[name]


# keys


def rates_of(held):
    return sum(key.rate for key in held)


class Key(str):
    pass


KEYS = {
    "a text": lambda: Key("a"),
    "a class": lambda: type("Gate", (), {}),
    "a function": lambda: lambda: None,
    "a member": lambda: enum.Enum("Mode", "FAST").FAST,
}


@pytest.mark.parametrize("make", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("container", [lambda key: {key: 1}, lambda key: {key}], ids=["key", "set"])
def test_a_change_of_an_attribute_of_a_key_is_noticed(make, container):
    key = make()
    key.rate = 0.5
    held = container(key)
    check_change(lambda: rates_of(held), partial(setattr, key, "rate", 0.7))


@changes
def the_value_of_a_member_that_is_a_key(patch):
    class Mode(enum.Enum):
        FAST = [0.5]  # noqa: RUF012

    held = {Mode.FAST: 1}
    return lambda: sum(k.value[0] for k in held), partial(setitem, Mode.FAST.value, 0, 0.7)


@changes
def a_class_in_a_tuple_that_is_a_key(patch):
    kind = type("Gate", (), {"rate": 0.5})
    held = {(kind, 1): 1}
    return lambda: rates_of(k for k, _ in held), partial(setattr, kind, "rate", 0.7)


@changes
def what_a_function_that_is_a_key_closes_over(patch):
    def closing_over(rates):
        return lambda: rates[0]

    rates, others = [0.5], [0.5]
    read, held = closing_over(rates), {closing_over(others): 1}
    return lambda: read() + sum(k() for k in held), partial(setitem, others, 0, 0.7)


# kinds


def kinds():
    """A class of which others may be said to be one, and one that is none of it yet."""
    return abc.ABCMeta("Base", (), {}), type("Other", (), {})


@changes
def what_counts_as_a_class_above_that_of_an_object(patch):
    base, other = kinds()
    gate, held = type("Gate", (base,), {})(), other()
    its = scaled(lambda self: 0.7 if isinstance(self.held, base) else 0.5, gate=gate, held=held)
    return its, partial(base.register, other)


@changes
def what_counts_as_a_class_that_counts_as_another(patch):
    base, other = kinds()
    middle = abc.ABCMeta("Middle", (), {})
    base.register(middle)
    return lambda: 0.7 if issubclass(other, base) else 0.5, partial(middle.register, other)


@changes
def a_new_class_below_as_which_another_counts(patch):
    base, other = kinds()
    held = []

    def change():
        held.append(type("Gate", (base,), {}))
        held[0].register(other)

    return lambda: 0.7 if issubclass(other, base) else 0.5, change


@changes
def what_counts_as_a_class_above_the_cell(patch):
    base, other = kinds()
    held = other()

    def begin(self):
        Cell.__init__(self, 3, 4)
        self.W = linear(3, 4)

    def step(self, x, h):
        return torch.tanh(self.W(x) + h * (0.7 if isinstance(held, base) else 0.5))

    written = abc.ABCMeta("Written", (Cell, base), {"__init__": begin, "step": step})
    return written().double(), partial(base.register, other)


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

    def read():
        try:
            Gate()
        except TypeError:
            return 0.5
        return 0.7

    return read, partial(setattr, Gate, "__abstractmethods__", frozenset())


# attributes


@changes
def an_attribute_whose_name_begins_like_those_of_saiki(patch):
    its = scaled(lambda self: self._saiki_rate, _saiki_rate=0.5)
    return its, partial(setattr, its, "_saiki_rate", 0.7)


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
def what_hangs_on_a_class_that_was_made(patch):
    kind = dataclasses.make_dataclass("Gate", [("size", float)])
    kind.settings = types.SimpleNamespace(rate=0.5)
    gate = kind(1.0)
    return lambda: gate.settings.rate, partial(setattr, kind.settings, "rate", 0.7)


@changes
def how_the_numbers_of_a_weight_lie(patch):
    its = activated(
        lambda self, s: torch.tanh(s + self.U.weight.as_strided((4,), (1,), 1)),
    )
    weight = its.U.weight
    return its, lambda: setattr(weight, "data", weight.detach().t().contiguous().t())


# installed modules, which read what is a user's

LIBRARY = """
import sys
from torch import nn

class Scale(nn.Module):
    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def forward(self, h):
        return scaled(h, self.gate)

class Limited(nn.Module):
    def forward(self, h):
        return h * sys.getrecursionlimit() / 2000

def scaled(h, gate):
    return h * gate.rates[0]
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    folder.mkdir()
    (folder / "library_of_a_test.py").write_text(LIBRARY, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    yield importlib.import_module("library_of_a_test")
    del sys.modules["library_of_a_test"]


def parametrized(library, gate):
    part = nn.Linear(4, 4)
    parametrize.register_parametrization(part, "weight", library.Scale(gate))
    return activated(lambda self, s: torch.tanh(self.part(s)), part=part)


GIVEN = {
    "by itself": lambda library, gate: activated(
        lambda self, s: torch.tanh(self.part(s)), part=library.Scale(gate)
    ),
    "for a weight": parametrized,
    "by PyTorch": lambda library, gate: activated(
        lambda self, s: torch.tanh(checkpoint(library.scaled, s, gate, use_reentrant=False))
    ),
}


@pytest.mark.parametrize("make", GIVEN.values(), ids=GIVEN)
def test_a_change_of_what_a_library_reads_is_noticed(make, library):
    gate = Gate([0.5])
    check_change(make(library, gate), partial(setitem, gate.rates, 0, 0.7))


def test_a_change_of_a_setting_that_a_library_reads_is_noticed(library):
    before = sys.getrecursionlimit()
    its = activated(lambda self, s: torch.tanh(self.part(s)), part=nn.Sequential(library.Limited()))
    change, undo = (partial(sys.setrecursionlimit, n) for n in (before + 900, before))
    check_change(its, change, undo)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_change_is_noticed(case, monkeypatch):
    check_change(*case(monkeypatch))

"""A copy of a cell shares with it what holds no tensors: what is one and the same stays so."""

import collections
import enum
import functools
import weakref
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from compiler.changing import activated
from compiler.twins import OF_PYTORCH, TOLERANCE, assert_same, ignored, inputs, layer, results
from saiki import Recurrent
from saiki.twin import Twin

pytestmark = [ignored("running step by step:UserWarning"), *map(ignored, OF_PYTORCH)]


class Mode(enum.Enum):
    FAST = "fast"
    SLOW = "slow"


class Gates(enum.Flag):
    INPUT = 1
    OUTPUT = 2


class Options:
    def __init__(self, **attributes):
        vars(self).update(attributes)


class Row(collections.namedtuple("Row", "rates name")):
    pass


def closing_over(rates):
    return lambda u: u * rates[0]


DEFAULT, MISSING = Options(rate=0.5), Options(reasons=[])
RATES, TABLE, ROW = [0.5], {"rate": 0.5}, Row([0.5], "low")
ACTIVATION = closing_over([1.0])
OF_MODES = {Mode.FAST: torch.tanh, Mode.SLOW: torch.relu}


# a cell that asks whether something is one and the same


def matched(mode):
    match mode:
        case Mode.FAST:
            return True
        case Mode.SLOW:
            return False


SAME = {
    "is a member": (Mode.FAST, lambda held: held is Mode.FAST),
    "equals a member": (Mode.FAST, lambda held: held == Mode.FAST),
    "matches a member": (Mode.FAST, matched),
    "is one of the members": (Mode.FAST, lambda held: held in (Mode.FAST,)),
    "a key that is a member": (Mode.FAST, lambda held: OF_MODES[held] is torch.tanh),
    "is a flag": (Gates.INPUT, lambda held: held is Gates.INPUT),
    "is a member that is held deeply": (
        {"modes": [Mode.FAST]},
        lambda held: held["modes"][0] is Mode.FAST,
    ),
    "is what stands for nothing": (MISSING, lambda held: held is MISSING),
    "equals an object": (DEFAULT, lambda held: held == DEFAULT),
    "is one of a list": (DEFAULT, lambda held: held in [DEFAULT]),
    "is a list": (RATES, lambda held: held is RATES),
    "is a dictionary": (TABLE, lambda held: held is TABLE),
    "is a row": (ROW, lambda held: held is ROW),
    "is a function": (ACTIVATION, lambda held: held is ACTIVATION),
}


def chosen(ask, **attributes):
    return activated(lambda self, s: torch.tanh(s) if ask(self) else 0.5 * torch.relu(s),
                     **attributes)  # fmt: skip


def assert_as_eager(subject):
    x = inputs()
    compiled = layer(subject)
    for _ in range(2):
        expected = results(Recurrent(subject, backend="eager"), x)
        assert_same(results(compiled, x), expected, TOLERANCE)


@pytest.mark.parametrize(("held", "ask"), SAME.values(), ids=SAME)
def test_what_a_step_asks_of_identity_is_answered_as_in_the_eager_loop(held, ask):
    subject = chosen(lambda self: ask(self.held), held=held)
    assert ask(subject.held)
    assert_as_eager(subject)


def test_a_weak_reference_to_a_part_is_one_to_the_part():
    subject = chosen(lambda self: self.part() is self.W)
    subject.part = weakref.ref(subject.W)
    assert_as_eager(subject)


def test_a_weak_reference_to_the_cell_is_one_to_it():
    subject = chosen(lambda self: self.owner() is self)
    subject.owner = weakref.ref(subject)
    assert_as_eager(subject)


# a step that changes what is shared


def counting(held):
    held["calls"] = held.get("calls", 0) + 1


def counting_inside(held):
    held.calls = getattr(held, "calls", 0) + 1


class Counter:
    __slots__ = ("calls",)


CHANGES = {
    "counts in a dictionary": (dict, counting, dict),
    "appends to a list": (list, lambda held: held.append(1), list),
    "adds to a set": (set, lambda held: held.add(len(held)), set),
    "counts in an object": (Options, counting_inside, lambda held: dict(vars(held))),
    "counts in a namespace": (SimpleNamespace, counting_inside, lambda held: dict(vars(held))),
    "counts in a slot": (Counter, counting_inside, lambda held: getattr(held, "calls", 0)),
}


@pytest.mark.parametrize(("make", "change", "content"), CHANGES.values(), ids=CHANGES)
def test_what_a_step_changes_is_changed_by_its_calls_alone(make, change, content):
    held, alone = make(), make()

    def step(self, s):
        change(held)
        return torch.tanh(s)

    x = inputs()
    subject = activated(step, held=held)
    compiled = layer(subject)
    assert content(held) == content(make())
    results(compiled, x)
    for _ in range(x.shape[1]):
        change(alone)
    assert content(held) == content(alone)
    assert_as_eager(subject)


# the copy itself


def around(part):
    return lambda: part


def other_of(value, real, other):
    """What is in the place of ``value`` in the copy of a module that holds it, and the copies."""
    module = nn.Module()
    module.value = value
    twin = Twin([(real, other)])
    return twin.of(module).value, twin


HOLDS_NONE = {
    "a member": lambda: Mode.FAST,
    "an object": lambda: DEFAULT,
    "a list": lambda: [1, [2]],
    "a dictionary": lambda: {"a": {"b": [1]}},
    "a set": lambda: {1, 2},
    "a queue": lambda: collections.deque([[1]]),
    "a row": lambda: Row([1], "low"),
    "a function": lambda: around([1]),
    "an object in a list": lambda: [Options(rates=[1])],
}


@pytest.mark.parametrize("make", HOLDS_NONE.values(), ids=HOLDS_NONE)
def test_what_holds_no_tensors_is_shared(make):
    value, real = make(), torch.ones(2)
    copied, twin = other_of(value, real, torch.zeros(2))
    assert copied is value
    assert not twin.has_copied(value)
    assert not twin.changed()


HOLDS = {
    "a list": (lambda t: [1, t], lambda held: held[1]),
    "a list in a list": (lambda t: [[t]], lambda held: held[0][0]),
    "a dictionary": (lambda t: {"a": t}, lambda held: held["a"]),
    "a queue": (lambda t: collections.deque([t]), lambda held: held[0]),
    "a tuple": (lambda t: (1, t), lambda held: held[1]),
    "a row": (lambda t: Row(t, "low"), lambda held: held.rates),
    "an object": (lambda t: Options(t=t), lambda held: held.t),
    "a function": (around, lambda held: held()),
    "a part of a function": (lambda t: functools.partial(around, t), lambda held: held()()),
}


@pytest.mark.parametrize(("make", "read"), HOLDS.values(), ids=HOLDS)
def test_what_holds_a_tensor_is_copied(make, read):
    real, other = torch.ones(2), torch.zeros(2)
    value = make(real)
    copied, twin = other_of(value, real, other)
    assert read(copied) is other
    assert read(value) is real
    assert twin.has_copied(value)


PUT_BACK = {
    "an entry": (lambda: {"a": 1}, lambda held: held.update(a=2), "value.a"),
    "a new entry": (lambda: {"a": 1}, lambda held: held.update(b=2), "value.b"),
    "a lost entry": (lambda: {"a": 1}, lambda held: held.clear(), "value.a"),
    "an item": (lambda: [1, 2], lambda held: held.reverse(), "value"),
    "an item more": (lambda: [1, 2], lambda held: held.append(3), "value"),
    "an item of a set": (lambda: {1, 2}, lambda held: held.discard(2), ""),
    "an item of a queue": (lambda: collections.deque([1]), lambda held: held.pop(), "value"),
}


@pytest.mark.parametrize(("make", "change", "name"), PUT_BACK.values(), ids=PUT_BACK)
def test_what_is_changed_of_what_is_shared_is_noticed_and_put_back(make, change, name):
    value = make()
    _, twin = other_of(value, torch.ones(2), torch.zeros(2))
    with twin.putting_back():
        change(value)
        assert value != make()
        assert twin.changed().startswith(name)
    assert value == make()
    assert not twin.changed()


def test_an_attribute_that_is_changed_is_noticed_and_put_back():
    value = Options(rate=0.5)
    _, twin = other_of(value, torch.ones(2), torch.zeros(2))
    with twin.putting_back():
        value.rate, value.other = 0.7, 1
        assert twin.changed() == "value.rate"
    assert vars(value) == {"rate": 0.5}


def test_what_is_put_back_is_what_was_there_though_the_block_fails():
    value = [1]
    _, twin = other_of(value, torch.ones(2), torch.zeros(2))
    with pytest.raises(TypeError), twin.putting_back():
        value.append(len(value.append(2)))
    assert value == [1]

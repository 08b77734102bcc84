"""What a kernel depends on may change after it was made: the layer computes what the cell is now.

Each case is a generator. It yields a cell, then changes what the cell depends on and yields again,
as often as there are changes; most end as they began. After each, outputs and all gradients are
those of a layer that is made anew and goes step by step, and they are not those of before.
"""

import collections
import copy
import dataclasses
import enum
import fractions
import functools
import itertools
import math
import operator
import os
import threading
import time
import types
import weakref

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from compiler.changing import Cases, activated, changes_of, check, scaled, with_buffer
from compiler.twins import (
    HIDDEN,
    OF_PYTORCH,
    TOLERANCE,
    assert_right,
    assert_same,
    cell,
    draw,
    ignored,
    inputs,
    layer,
    linear,
    results,
)
from saiki import Cell, CompileError, Recurrent
from saiki.cells import GRU

pytestmark = [
    pytest.mark.one_in(4),
    ignored("running step by step:UserWarning"),
    *map(ignored, OF_PYTORCH),
]

changes = Cases()


# globals and closures

FACTOR = 0.5
TENSOR = torch.linspace(0.1, 1, HIDDEN, dtype=torch.float64)
TABLE = {"decay": 0.5}
NESTED = {"cell": {"rates": [0.5, 0.2]}}
MODULE = types.ModuleType("settings")
MODULE.decay = 0.5


def function(h):
    return torch.tanh(h)


def other_function(h):
    return torch.sigmoid(h)


FUNCTION = function


@changes
def a_global():
    global FACTOR
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + FACTOR * h), W=linear(3, 4))
    FACTOR = 0.7
    yield
    FACTOR = 0.5


@changes
def a_global_tensor():
    global TENSOR
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + TENSOR * h), W=linear(3, 4))
    TENSOR = TENSOR * 2
    yield
    TENSOR.div_(2)


@changes
def a_global_function():
    global FUNCTION
    yield cell(lambda self, x, h: FUNCTION(self.W(x) + h), W=linear(3, 4))
    FUNCTION = other_function
    yield
    FUNCTION = function


@changes
def a_global_dict():
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + TABLE["decay"] * h), W=linear(3, 4))
    TABLE["decay"] = 0.7
    yield
    TABLE["decay"] = 0.5


@changes
def an_entry_deep_inside_a_global():
    yield scaled(lambda self: NESTED["cell"]["rates"][1])
    NESTED["cell"]["rates"][1] = 0.7
    yield
    NESTED["cell"]["rates"][1] = 0.2


@changes
def an_attribute_of_a_module():
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + MODULE.decay * h), W=linear(3, 4))
    MODULE.decay = 0.7
    yield
    MODULE.decay = 0.5


@changes
def a_global_that_a_function_reads():
    def decayed(h):
        return FACTOR * h

    global FACTOR
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + self.f(h)), W=linear(3, 4), f=decayed)
    FACTOR = 0.7
    yield
    FACTOR = 0.5


def _reads_a_global(h):
    return FACTOR * h


@changes
def a_global_that_a_global_function_reads():
    global FACTOR
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + _reads_a_global(h)), W=linear(3, 4))
    FACTOR = 0.7
    yield
    FACTOR = 0.5


@changes
def a_closure():
    factor = 0.5
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + factor * h), W=linear(3, 4))
    factor = 0.7
    yield
    factor = 0.5


@changes
def a_tensor_in_a_closure():
    factor = draw(4)
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + factor * h), W=linear(3, 4))
    factor.add_(1)
    yield
    factor = draw(4)


@changes
def a_list_in_a_closure():
    factors = [0.5]
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + sum(factors) * h), W=linear(3, 4))
    factors.append(0.2)
    yield
    factors.pop()


@changes
def a_function_in_a_closure():
    f = torch.tanh
    yield cell(lambda self, x, h: f(self.W(x) + h), W=linear(3, 4))
    f = torch.sigmoid


@changes
def a_closure_of_a_closure():
    factor = 0.5

    def decay(h):
        return (lambda h: factor * h)(h)

    yield cell(lambda self, x, h: torch.tanh(self.W(x) + decay(h)), W=linear(3, 4))
    factor = 0.7


# the class and the code of step


@changes
def a_class_attribute():
    subject = scaled(lambda self: self.factor)
    type(subject).factor = 0.5
    yield subject
    type(subject).factor = 0.7
    yield
    subject.factor = 0.2
    yield
    del subject.factor


@changes
def an_attribute_of_a_base():
    class Base(Cell):
        factor = 0.5

        def __init__(self):
            super().__init__(3, 4)
            self.W = linear(3, 4)

        def step(self, x, h):
            return torch.tanh(self.W(x) + self.factor * h)

    class Derived(Base):
        pass

    yield Derived().double()
    Base.factor = 0.7


@changes
def a_property():
    subject = scaled(lambda self: self.factor)
    type(subject).factor = property(lambda self: 0.5)
    yield subject
    type(subject).factor = property(lambda self: 0.7)


@changes
def what_a_property_reads():
    subject = scaled(lambda self: self.factor, rates={"now": 0.5})
    type(subject).factor = property(lambda self: 2 * self.rates["now"])
    yield subject
    subject.rates["now"] = 0.7


@changes
def step_of_the_class():
    subject = scaled(lambda self: 0.5)
    before = type(subject).step
    yield subject
    type(subject).step = lambda self, x, h: torch.sigmoid(self.W(x) + h)
    yield
    type(subject).step = before


@changes
def code_of_step():
    def step(self, x, h):
        return torch.tanh(self.W(x) + 0.5 * h)

    def other(self, x, h):
        return torch.tanh(self.W(x) + 0.7 * h)

    code = step.__code__
    yield cell(step, W=linear(3, 4))
    step.__code__ = other.__code__
    yield
    step.__code__ = code


@changes
def a_method():
    subject = cell(lambda self, x, h: self.act(self.W(x) + h), W=linear(3, 4))
    type(subject).act = lambda self, u: torch.tanh(u)
    yield subject
    type(subject).act = lambda self, u: torch.sigmoid(u)
    yield
    subject.act = lambda u: torch.relu(u)
    yield
    del subject.act


@changes
def a_static_method():
    subject = cell(lambda self, x, h: self.act(self.W(x) + h), W=linear(3, 4))
    type(subject).act = staticmethod(torch.tanh)
    yield subject
    type(subject).act = staticmethod(torch.sigmoid)


@changes
def a_method_that_a_method_calls():
    subject = cell(lambda self, x, h: self.outer(self.W(x) + h), W=linear(3, 4))
    type(subject).outer = lambda self, u: 0.5 * self.inner(u)
    type(subject).inner = lambda self, u: torch.tanh(u)
    yield subject
    type(subject).inner = lambda self, u: torch.sigmoid(u)


@changes
def step_of_a_base():
    class Base(Cell):
        def __init__(self):
            super().__init__(3, 4)
            self.W = linear(3, 4)

        def step(self, x, h):
            return torch.tanh(self.W(x) + h)

    class Derived(Base):
        def step(self, x, h):
            return 0.5 * super().step(x, h)

    yield Derived().double()
    Base.step = lambda self, x, h: torch.sigmoid(self.W(x) + h)


@changes
def the_class_of_a_cell():
    subject = scaled(lambda self: self.factor(), w=draw(4))
    kind = type(subject)
    kind.factor = lambda self: 0.5
    yield subject
    subject.__class__ = type("Other", (kind,), {"factor": lambda self: 0.7})
    yield
    subject.__class__ = kind


@changes
def forward_of_the_class_of_a_module():
    class Act(nn.Module):
        def forward(self, u):
            return torch.tanh(u)

    yield activated(lambda self, u: self.f(u), f=Act())
    Act.forward = lambda self, u: torch.sigmoid(u)


changes.table(
    {
        "step of the instance": [
            lambda: scaled(lambda self: 0.5),
            lambda c: setattr(
                c, "step", types.MethodType(lambda self, x, h: torch.sigmoid(self.W(x) + h), c)
            ),
            lambda c: delattr(c, "step"),
        ],
        "forward of a module": [
            lambda: activated(lambda self, u: self.f(u), f=nn.Tanh()),
            lambda c: setattr(c.f, "forward", torch.sigmoid),
            lambda c: delattr(c.f, "forward"),
        ],
        "the class of a module": [
            lambda: activated(lambda self, u: self.f(u), f=nn.Tanh()),
            lambda c: setattr(c.f, "__class__", nn.Sigmoid),
        ],
    }
)


# attributes


@dataclasses.dataclass
class Rates:
    decay: float = 0.5
    more: "Rates | None" = None


class Slots:
    __slots__ = ("decay",)

    def __init__(self, decay):
        self.decay = decay


class Computed:
    def __init__(self, decay):
        self._decay = decay

    @property
    def decay(self):
        return self._decay


class Mode(enum.Enum):
    SLOW = 0.5
    FAST = 0.7


Pair = collections.namedtuple("Pair", "decay gain")


@changes
def the_class_attribute_of_an_object():
    class Own:
        decay = 0.5

    yield scaled(lambda self: self.own.decay, own=Own())
    Own.decay = 0.7


@changes
def an_object_that_refers_to_itself():
    own = types.SimpleNamespace(decay=0.5)
    own.parent = own
    yield scaled(lambda self: self.own.parent.decay, own=own)
    own.decay = 0.7


@changes
def a_weak_reference():
    own = Rates()
    yield scaled(lambda self: self.own().decay, own=weakref.ref(own))
    own.decay = 0.7


@changes
def an_object_in_a_list():
    subject = scaled(lambda self: self.rates[0].decay, rates=[Rates()])
    yield subject
    subject.rates[0].decay = 0.7


@changes
def the_defaults_of_a_function():
    def f(u, by=0.5, *, bias=0.0):
        return torch.tanh(u * by + bias)

    yield activated(lambda self, u: self.f(u), f=f)
    f.__defaults__ = (0.7,)
    yield
    f.__kwdefaults__["bias"] = 0.2


@changes
def an_attribute_of_a_function():
    def f(u):
        return torch.tanh(u * f.by)

    f.by = 0.5
    yield activated(lambda self, u: self.f(u), f=f)
    f.by = 0.7


@changes
def the_call_of_an_object():
    class Own:
        def __call__(self, u):
            return torch.tanh(u)

    yield activated(lambda self, u: self.f(u), f=Own())
    Own.__call__ = lambda self, u: torch.sigmoid(u)


@changes
def a_method_of_an_object():
    class Own:
        by = 0.5

        def f(self, u):
            return torch.tanh(u * self.by)

    own = Own()
    yield activated(lambda self, u: self.f(u), f=own.f)
    own.by = 0.7


changes.table(
    {
        "a number": [
            lambda: scaled(lambda self: self.decay, decay=0.5),
            lambda c: setattr(c, "decay", 0.7),
            lambda c: setattr(c, "decay", 0.5),
        ],
        "a number of another type": [
            lambda: scaled(lambda self: 1.0 if isinstance(self.decay, bool) else 0.5, decay=1),
            lambda c: setattr(c, "decay", True),
        ],
        "the sign of zero": [
            lambda: scaled(lambda self: math.copysign(0.5, self.decay), decay=0.0),
            lambda c: setattr(c, "decay", -0.0),
        ],
        "a field of a dataclass": [
            lambda: scaled(lambda self: self.rates.decay, rates=Rates()),
            lambda c: setattr(c.rates, "decay", 0.7),
            lambda c: setattr(c.rates, "decay", 0.5),
        ],
        "a field of a field": [
            lambda: scaled(lambda self: self.rates.more.decay, rates=Rates(more=Rates())),
            lambda c: setattr(c.rates.more, "decay", 0.7),
            lambda c: setattr(c.rates, "more", Rates(decay=0.2)),
        ],
        "a field of an object": [
            lambda: scaled(lambda self: self.own.decay, own=types.SimpleNamespace(decay=0.5)),
            lambda c: setattr(c.own, "decay", 0.7),
        ],
        "a slot": [
            lambda: scaled(lambda self: self.own.decay, own=Slots(0.5)),
            lambda c: setattr(c.own, "decay", 0.7),
        ],
        "a property of an object": [
            lambda: scaled(lambda self: self.own.decay, own=Computed(0.5)),
            lambda c: setattr(c.own, "_decay", 0.7),
        ],
        "a named tuple": [
            lambda: scaled(lambda self: self.pair.decay * self.pair.gain, pair=Pair(0.5, 1.0)),
            lambda c: setattr(c, "pair", c.pair._replace(decay=0.7)),
        ],
        "a member of an enumeration": [
            lambda: scaled(lambda self: self.mode.value, mode=Mode.SLOW),
            lambda c: setattr(c, "mode", Mode.FAST),
        ],
        "a dict entry": [
            lambda: scaled(lambda self: self.rates["decay"], rates={"decay": 0.5}),
            lambda c: operator.setitem(c.rates, "decay", 0.7),
            lambda c: operator.setitem(c.rates, "decay", 0.5),
        ],
        "a new dict entry": [
            lambda: scaled(lambda self: self.rates.get("decay", 0.5), rates={}),
            lambda c: operator.setitem(c.rates, "decay", 0.7),
            lambda c: operator.delitem(c.rates, "decay"),
        ],
        "the order of a dict": [
            lambda: scaled(
                lambda self: next(iter(self.rates.values())), rates={"a": 0.5, "b": 0.7}
            ),
            lambda c: operator.setitem(c.rates, "a", c.rates.pop("a")),
        ],
        "a list element": [
            lambda: scaled(lambda self: self.rates[1], rates=[0.1, 0.5]),
            lambda c: operator.setitem(c.rates, 1, 0.7),
        ],
        "a long list": [
            lambda: scaled(lambda self: sum(self.rates) / 3000, rates=[0.5] * 3000),
            lambda c: operator.setitem(c.rates, 1500, 100.0),
        ],
        "a set": [
            lambda: scaled(lambda self: 0.7 if "fast" in self.flags else 0.5, flags=set()),
            lambda c: c.flags.add("fast"),
            lambda c: c.flags.clear(),
        ],
        "a deque": [
            lambda: scaled(lambda self: self.rates[-1], rates=collections.deque([0.5], maxlen=3)),
            lambda c: c.rates.append(0.7),
        ],
        "a default set later": [
            lambda: scaled(lambda self: getattr(self, "decay", 0.5)),
            lambda c: setattr(c, "decay", 0.7),
            lambda c: delattr(c, "decay"),
        ],
        "an attribute deleted": [
            lambda: scaled(lambda self: self.decay if hasattr(self, "decay") else 0.7, decay=0.5),
            lambda c: delattr(c, "decay"),
        ],
        "an attribute of none": [
            lambda: scaled(lambda self: 0.7 if self.decay is None else self.decay, decay=0.5),
            lambda c: setattr(c, "decay", None),
        ],
        "the name of an activation": [
            lambda: activated(lambda self, u: getattr(torch, self.name)(u), name="tanh"),
            lambda c: setattr(c, "name", "sigmoid"),
        ],
        "a function": [
            lambda: activated(lambda self, u: self.f(u), f=torch.tanh),
            lambda c: setattr(c, "f", F.silu),
            lambda c: setattr(c, "f", torch.tanh),
        ],
        "a partial": [
            lambda: activated(
                lambda self, u: self.f(u), f=functools.partial(F.leaky_relu, negative_slope=0.1)
            ),
            lambda c: operator.setitem(c.f.keywords, "negative_slope", 0.3),
            lambda c: setattr(c, "f", functools.partial(F.leaky_relu, negative_slope=0.2)),
        ],
        "a numpy array": [
            lambda: scaled(
                lambda self: torch.from_numpy(self.rates), rates=np.linspace(0.1, 0.4, 4)
            ),
            lambda c: operator.setitem(c.rates, 2, 0.9),
            lambda c: setattr(c, "rates", np.linspace(0.2, 0.5, 4)),
        ],
        "numbers of a numpy array": [
            lambda: scaled(lambda self: float(self.rates[1]), rates=np.linspace(0.1, 0.4, 4)),
            lambda c: operator.setitem(c.rates, 1, 0.9),
        ],
        "a large numpy array": [
            lambda: scaled(lambda self: float(self.rates[700]), rates=np.full(2000, 0.5)),
            lambda c: operator.setitem(c.rates, 700, 0.9),
        ],
        "a numpy scalar": [
            lambda: scaled(lambda self: float(self.decay), decay=np.float64(0.5)),
            lambda c: setattr(c, "decay", np.float64(0.7)),
        ],
        "a fraction": [
            lambda: scaled(lambda self: float(self.decay), decay=fractions.Fraction(1, 2)),
            lambda c: setattr(c, "decay", fractions.Fraction(2, 3)),
        ],
        "a tensor": [
            lambda: scaled(lambda self: self.w, w=draw(4)),
            lambda c: setattr(c, "w", draw(4)),
            lambda c: c.w.mul_(2),
            lambda c: setattr(c, "w", None if c.w is None else draw(1)),
        ],
        "a tensor in a list": [
            lambda: scaled(lambda self: self.ws[0], ws=[draw(4)]),
            lambda c: operator.setitem(c.ws, 0, draw(4)),
            lambda c: c.ws[0].mul_(2),
        ],
    }
)


# numbers read from tensors


@changes
def numbers_of_a_parameter():
    subject = scaled(lambda self: self.decay.tolist()[0], decay=nn.Parameter(torch.ones(2)))
    yield subject
    with torch.no_grad():
        subject.decay.mul_(0.7)


changes.table(
    {
        "float of a buffer": [
            lambda: with_buffer(
                scaled(lambda self: float(self.t)), "t", torch.tensor(0.5, dtype=torch.float64)
            ),
            lambda c: c.t.fill_(0.7),
            lambda c: setattr(c, "t", torch.tensor(0.2, dtype=torch.float64)),
        ],
        "item of a buffer": [
            lambda: with_buffer(
                scaled(lambda self: self.t.item() ** 0.5),
                "t",
                torch.tensor(0.5, dtype=torch.float64),
            ),
            lambda c: c.t.mul_(1.5),
        ],
        "a buffer that decides": [
            lambda: with_buffer(
                scaled(lambda self: 0.5 if self.flag else 0.7), "flag", torch.tensor(True)
            ),
            lambda c: c.flag.fill_(False),
            lambda c: c.flag.fill_(True),
        ],
        "a buffer that counts": [
            lambda: with_buffer(
                scaled(lambda self: sum(0.2 for _ in range(int(self.n)))), "n", torch.tensor(2)
            ),
            lambda c: c.n.add_(1),
        ],
        "float of an attribute": [
            lambda: scaled(lambda self: float(self.t), t=torch.tensor(0.5)),
            lambda c: c.t.fill_(0.7),
        ],
        "an index from a buffer": [
            lambda: with_buffer(
                scaled(lambda self: self.ws[self.n], ws=draw(3, 4)), "n", torch.tensor(0)
            ),
            lambda c: c.n.fill_(2),
        ],
    }
)


# parameters and buffers


@changes
def a_parameter_of_none():
    subject = activated(lambda self, u: torch.tanh(u if self.b is None else u * self.b))
    subject.register_parameter("b", None)
    yield subject
    subject.b = nn.Parameter(draw(4))
    yield
    subject.b = None


@changes
def a_bias_of_none():
    subject = activated(lambda self, u: torch.tanh(u))
    yield subject
    bias = subject.U.bias
    subject.U.bias = None
    yield
    subject.U.bias = bias


@changes
def a_parameter_that_becomes_a_buffer():
    subject = scaled(lambda self: self.w, w=nn.Parameter(draw(4)))
    yield subject
    w = subject.w.detach()
    del subject.w
    subject.register_buffer("w", w)


@changes
def a_parameter_that_becomes_an_attribute():
    subject = scaled(lambda self: self.w, w=nn.Parameter(draw(4)))
    yield subject
    w = subject.w.detach() * 2
    del subject.w
    subject.w = w
    yield
    w.mul_(2)


@changes
def weights_tied():
    subject = cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.A(h) + self.B(torch.tanh(h))),
        W=linear(3, 4), A=linear(4, 4), B=linear(4, 4),
    )  # fmt: skip
    own = subject.B.weight
    yield subject
    subject.B.weight = subject.A.weight
    yield
    subject.B.weight = own


@changes
def modules_tied():
    subject = cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.A(h) + self.B(torch.tanh(h))),
        W=linear(3, 4), A=linear(4, 4), B=linear(4, 4),
    )  # fmt: skip
    own = subject.B
    yield subject
    subject.B = subject.A
    yield
    subject.B = own


@changes
def a_tie_that_changes_sides():
    subject = cell(
        lambda self, x, h: torch.tanh(self.A(x) * self.B(h) + self.C(h)),
        inputs=4, A=linear(4, 4), B=linear(4, 4), C=linear(4, 4),
    )  # fmt: skip
    subject.B.weight = subject.A.weight
    yield subject
    subject.B.weight, subject.C.weight = subject.C.weight, subject.A.weight


changes.table(
    {
        "a buffer of none": [
            lambda: with_buffer(
                activated(lambda self, u: torch.tanh(u if self.b is None else u * self.b)),
                "b",
                None,
            ),
            lambda c: setattr(c, "b", draw(4)),
            lambda c: setattr(c, "b", None),
        ],
        "a buffer registered later": [
            lambda: activated(lambda self, u: torch.tanh(u * getattr(self, "b", 1.0))),
            lambda c: c.register_buffer("b", draw(4)),
            lambda c: delattr(c, "b"),
        ],
        "another parameter": [
            lambda: scaled(lambda self: self.w, w=nn.Parameter(draw(4))),
            lambda c: setattr(c, "w", nn.Parameter(draw(4))),
            lambda c: setattr(c, "w", nn.Parameter(draw(1))),
        ],
        "data replaced": [
            lambda: scaled(lambda self: self.w, w=nn.Parameter(draw(4))),
            lambda c: setattr(c.w, "data", draw(4)),
            lambda c: setattr(c.w, "data", draw(1)),
        ],
        "data copied into": [
            lambda: activated(lambda self, u: torch.tanh(u)),
            lambda c: c.U.weight.data.copy_(draw(4, 4)),
        ],
        "data in another layout": [
            lambda: activated(lambda self, u: torch.tanh(u)),
            lambda c: setattr(c.U.weight, "data", draw(8, 4).t()[:, ::2]),
        ],
        "a state dict loaded": [
            lambda: activated(lambda self, u: torch.tanh(u)),
            lambda c: c.load_state_dict(
                {name: draw(*t.shape) for name, t in c.state_dict().items()}
            ),
            lambda c: c.load_state_dict(
                {name: draw(*t.shape) for name, t in c.state_dict().items()}, assign=True
            ),
        ],
        "a parameter that is frozen": [
            lambda: activated(lambda self, u: torch.tanh(u)),
            lambda c: c.U.weight.requires_grad_(False),
            lambda c: c.U.weight.requires_grad_(True),
        ],
        "what a step makes of frozen parameters": [
            lambda: cell(
                lambda self, x, h: torch.tanh(self.W(x) + self.w * h) * (1 + self.w.requires_grad),
                W=linear(3, 4),
                w=nn.Parameter(draw(4)),
            ),
            lambda c: c.w.requires_grad_(False),
        ],
        "parameters that share memory": [
            lambda: scaled(
                lambda self: self.a * self.b, a=nn.Parameter(draw(4)), b=nn.Parameter(draw(4))
            ),
            lambda c: setattr(c.b, "data", c.a.data),
        ],
    }
)


# modules


@changes
def a_list_of_modules():
    def f(self, u):
        for part in self.parts:
            u = torch.tanh(part(u))
        return u

    subject = activated(f, parts=nn.ModuleList([linear(4, 4)]))
    yield subject
    subject.parts.append(linear(4, 4).double())
    yield
    subject.parts[0] = nn.Identity()
    yield
    del subject.parts[0]
    yield
    subject.parts.insert(0, linear(4, 4, bias=False).double())


@changes
def a_dict_of_modules():
    def f(self, u):
        return torch.tanh(sum((part(u) for part in self.parts.values()), u))

    subject = activated(f, parts=nn.ModuleDict({"a": linear(4, 4)}))
    yield subject
    subject.parts["b"] = linear(4, 4).double()
    yield
    del subject.parts["a"]


@changes
def a_plain_list_of_modules():
    def f(self, u):
        for part in self.parts:
            u = torch.tanh(part(u))
        return u

    parts = [linear(4, 4).double()]
    yield activated(f, parts=parts)
    parts.append(nn.Sigmoid())
    yield
    with torch.no_grad():
        parts[0].weight.mul_(2)


changes.table(
    {
        "a sequential that grows": [
            lambda: activated(lambda self, u: self.f(u), f=nn.Sequential(nn.Tanh())),
            lambda c: c.f.append(linear(4, 4).double()),
            lambda c: operator.delitem(c.f, 1),
        ],
        "a part of a sequential": [
            lambda: activated(lambda self, u: self.f(u), f=nn.Sequential(nn.Tanh(), nn.Tanh())),
            lambda c: operator.setitem(c.f, 1, nn.Sigmoid()),
        ],
        "a list of parameters": [
            lambda: scaled(lambda self: sum(self.ws), ws=nn.ParameterList([nn.Parameter(draw(4))])),
            lambda c: c.ws.append(nn.Parameter(draw(4))),
        ],
        "a module added later": [
            lambda: activated(
                lambda self, u: torch.tanh(self.extra(u) if hasattr(self, "extra") else u)
            ),
            lambda c: setattr(c, "extra", linear(4, 4).double()),
            lambda c: delattr(c, "extra"),
        ],
        "a module of none": [
            lambda: activated(
                lambda self, u: torch.tanh(u if self.extra is None else self.extra(u)), extra=None
            ),
            lambda c: setattr(c, "extra", nn.LayerNorm(4).double()),
            lambda c: setattr(c, "extra", None),
        ],
        "a module replaced": [
            lambda: activated(lambda self, u: self.f(u), f=nn.Tanh()),
            lambda c: setattr(c, "f", nn.PReLU().double()),
        ],
        "an option of a module": [
            lambda: activated(
                lambda self, u: self.norm(self.f(u)), f=nn.LeakyReLU(0.1), norm=nn.LayerNorm(4)
            ),
            lambda c: setattr(c.f, "negative_slope", 0.3),
            lambda c: setattr(c.norm, "eps", 0.1),
        ],
        "training and evaluation": [
            lambda: scaled(lambda self: 0.5 if self.training else 0.7),
            lambda c: c.eval(),
            lambda c: c.train(),
        ],
        "evaluation of a module": [
            lambda: activated(
                lambda self, u: torch.tanh(self.f(u) if self.f.training else u), f=nn.Softplus()
            ),
            lambda c: c.f.eval(),
            lambda c: c.f.train(),
        ],
    }
)


@changes
def dropout_in_evaluation():
    class Halves(nn.Module):
        def forward(self, u):
            return 0.5 * u if self.training else u

    subject = activated(lambda self, u: torch.tanh(self.f(u)), f=nn.Sequential(Halves()))
    yield subject
    subject.eval()


# parametrisations, pruning and norms


class Symmetric(nn.Module):
    def forward(self, w):
        return w.triu() + w.triu(1).T


@changes
def a_parametrisation():
    subject = activated(lambda self, u: torch.tanh(u))
    yield subject
    parametrize.register_parametrization(subject.U, "weight", Symmetric())
    yield
    with torch.no_grad():
        subject.U.parametrizations.weight.original.mul_(2)
    yield
    parametrize.remove_parametrizations(subject.U, "weight", leave_parametrized=False)


@changes
def a_second_parametrisation():
    subject = activated(lambda self, u: torch.tanh(u))
    parametrize.register_parametrization(subject.U, "weight", Symmetric())
    yield subject
    parametrize.register_parametrization(subject.U, "weight", nn.Tanh())


@changes
def weight_norm():
    subject = activated(lambda self, u: torch.tanh(u))
    yield subject
    parametrizations.weight_norm(subject.U)
    with torch.no_grad():
        subject.U.parametrizations.weight.original0.mul_(2)


@changes
def weight_norm_as_it_was():
    subject = activated(lambda self, u: torch.tanh(u))
    yield subject
    nn.utils.weight_norm(subject.U)
    with torch.no_grad():
        subject.U.weight_g.mul_(2)
    yield
    nn.utils.remove_weight_norm(subject.U)


changes.table(
    {
        "an orthogonal parametrisation": [
            lambda: activated(lambda self, u: torch.tanh(u)),
            lambda c: parametrizations.orthogonal(c.U),
        ],
        "spectral norm": [
            lambda: activated(lambda self, u: torch.tanh(u)).eval(),
            lambda c: parametrizations.spectral_norm(c.U).eval(),
        ],
    }
)


@changes
def pruning():
    subject = activated(lambda self, u: torch.tanh(u))
    yield subject
    prune.l1_unstructured(subject.U, "weight", amount=0.5)
    yield
    prune.random_unstructured(subject.W, "weight", amount=3)
    yield
    prune.remove(subject.U, "weight")
    with torch.no_grad():
        subject.U.weight.add_(0.1)


# hooks


HOOKS = {
    "a hook on a module": lambda c: c.U.register_forward_hook(
        lambda module, args, result: 0.5 * result
    ),
    "a hook before a module": lambda c: c.U.register_forward_pre_hook(
        lambda module, args: (0.5 * args[0],)
    ),
    "a hook on the cell": lambda c: c.register_forward_hook(
        lambda module, args, new: (0.5 * new[0],)
    ),
    "a hook on the gradient of a module": lambda c: c.W.register_full_backward_hook(
        lambda module, of_x, of_y: (0.5 * of_x[0],)
    ),
    "a hook on the gradient of a parameter": lambda c: c.W.bias.register_hook(
        lambda gradient: 0.5 * gradient
    ),
}


def of_a_hook(name):
    def case():
        yield (subject := activated(lambda self, u: torch.tanh(u)))
        handle = HOOKS[name](subject)
        yield
        handle.remove()

    case.__name__ = name
    return case


changes += map(of_a_hook, HOOKS)
changes.table(
    {
        "a hook on a module that came later": [
            lambda: activated(lambda self, u: self.f(u), f=nn.Tanh()),
            lambda c: setattr(c, "f", nn.Sigmoid()),
            lambda c: c.f.register_forward_hook(lambda module, args, result: 0.5 * result),
        ],
    }
)


@changes
def a_hook_on_all_modules():
    subject = activated(lambda self, u: torch.tanh(u))
    yield subject
    halve = lambda module, args, result: 0.5 * result if module is subject.U else None  # noqa: E731
    handle = nn.modules.module.register_module_forward_hook(halve)
    try:
        yield
    finally:
        handle.remove()


# the state of PyTorch


@changes
def the_default_type():
    yield scaled(lambda self: torch.tensor(0.1))
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@changes
def whether_algorithms_are_deterministic():
    yield scaled(lambda self: 0.5 if torch.are_deterministic_algorithms_enabled() else 0.7)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(not before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@pytest.fixture(autouse=True)
def as_it_was():
    yield
    global FACTOR, FUNCTION
    FACTOR, FUNCTION = 0.5, function
    TABLE["decay"], MODULE.decay, NESTED["cell"]["rates"][1] = 0.5, 0.5, 0.2


@pytest.mark.filterwarnings("ignore:.*_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("case", changes, ids=lambda case: case.__name__)
def test_a_change_is_noticed(case):
    check(case)


def graded():
    """A cell whose numbers depend on whether gradients are wanted."""
    return scaled(lambda self: 0.5 if torch.is_grad_enabled() else 0.7)


@pytest.mark.parametrize("first", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_whether_gradients_are_wanted(first):
    compiled, x = layer(graded()), inputs()
    for mode in (first, torch.enable_grad, torch.no_grad, torch.enable_grad):
        with mode():
            expected, _ = Recurrent(compiled.cell, backend="eager")(x)
            y, _ = compiled(x)
            torch.testing.assert_close(y, expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_gradients_after_a_first_call_without():
    compiled, x = layer(GRU(3, 4).double()), inputs()
    with torch.no_grad():
        compiled(x)
    assert_same(
        results(compiled, x), results(Recurrent(compiled.cell, backend="eager"), x), TOLERANCE
    )


@pytest.mark.parametrize("kind", ["the same class", "another class", "another size"])
def test_another_cell(kind):
    others = {
        "the same class": lambda: cell(type(first).step, W=linear(3, 4)),
        "another class": lambda: GRU(3, 4).double(),
        "another size": lambda: GRU(3, 5).double(),
    }
    first = scaled(lambda self: 0.5)
    compiled, x = layer(first), inputs()
    for subject in (first, others[kind](), first):
        compiled.cell = subject
        expected = results(Recurrent(subject, backend="eager"), x)
        assert_same(results(compiled, x), expected, TOLERANCE)


def test_another_cell_of_the_class_that_was_compiled_before_the_change():
    first, second = GRU(3, 4).double(), GRU(3, 4).double()
    compiled, other, x = layer(first), layer(second), inputs()
    compiled(x), other(x)
    compiled.cell = second
    assert_same(results(compiled, x), results(Recurrent(second, backend="eager"), x), TOLERANCE)
    with torch.no_grad():
        for p in second.parameters():
            p.mul_(1.5)
    assert_same(results(compiled, x), results(Recurrent(second, backend="eager"), x), TOLERANCE)


def test_the_cells_of_two_layers_become_one():
    model = nn.ModuleList([layer(scaled(lambda self: 0.5)), layer(scaled(lambda self: 0.7))])
    x = inputs()
    for part in model:
        part(x)
    model[1].cell = model[0].cell
    compiled, expected = (
        [results(part, x) for part in parts]
        for parts in (model, [Recurrent(part.cell, backend="eager") for part in model])
    )
    for a, b in zip(compiled, expected, strict=True):
        assert_same(a, b, TOLERANCE)
    ((model[0](x)[0] + model[1](x)[0]).sum()).backward()
    once = torch.autograd.grad(model[0](x)[0].sum(), model[0].cell.W.weight)[0]
    torch.testing.assert_close(model[0].cell.W.weight.grad, 2 * once)


def test_the_direction():
    compiled, x = layer(GRU(3, 4).double()), inputs()
    for reverse in (False, True, False):
        compiled.reverse = reverse
        expected = results(Recurrent(compiled.cell, reverse, "eager"), x)
        assert_same(results(compiled, x), expected, TOLERANCE)


def test_the_backend():
    compiled, x = layer(GRU(3, 4).double()), inputs()
    for backend in ("auto", "eager", "cpu", "auto"):
        compiled.backend = backend
        expected = results(Recurrent(compiled.cell, backend="eager"), x)
        assert_same(results(compiled, x), expected, TOLERANCE)


def test_the_type():
    compiled = layer(scaled(lambda self: self.w, w=nn.Parameter(torch.ones(4))))
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-4), (torch.float64, 1e-10)):
        compiled.to(dtype)
        x = inputs().to(dtype)
        expected = results(Recurrent(compiled.cell, backend="eager"), x)
        assert_same(results(compiled, x), expected, tolerance)


def test_what_a_cell_owns_is_another_in_a_copy():
    """A copy and the original change apart."""
    first = layer(scaled(lambda self: self.rates[0], rates=[0.5]))
    x = inputs()
    first(x)
    second = copy.deepcopy(first)
    second.cell.rates[0] = 0.7
    for compiled in (first, second):
        expected = results(Recurrent(compiled.cell, backend="eager"), x)
        assert_same(results(compiled, x), expected, TOLERANCE)


@pytest.fixture
def dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("dynamo")
@pytest.mark.parametrize("fullgraph", [False, True])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_evaluation_after_torch_compile(backend, fullgraph):
    tested, x = layer(scaled(lambda self: 0.5 if self.training else 0.7)), inputs()
    compiled = torch.compile(tested, backend=backend, fullgraph=fullgraph)
    for change in (tested.train, tested.eval, tested.train):
        change()
        expected = results(Recurrent(tested.cell, backend="eager"), x)
        assert_same(results(compiled, x), expected, TOLERANCE)


@pytest.mark.usefixtures("dynamo")
def test_another_cell_after_torch_compile():
    first, second = scaled(lambda self: 0.5), GRU(3, 4).double()
    tested, x = layer(first), inputs()
    compiled = torch.compile(tested, backend="eager")
    for subject in (first, second, first):
        tested.cell = subject
        assert_same(
            results(compiled, x, modules=tested),
            results(Recurrent(subject, backend="eager"), x),
            TOLERANCE,
        )


@pytest.mark.usefixtures("dynamo")
@pytest.mark.parametrize(
    "name", ["a number", "a dict entry", "a_global", "a_parameter_of_none", "data replaced"]
)
def test_a_change_after_torch_compile(name):
    (case,) = (case for case in changes if case.__name__ == name)
    x, steps = inputs(), case()
    tested = layer(next(steps))
    compiled = torch.compile(tested, backend="eager")
    results(compiled, x, modules=tested)
    for _ in changes_of(steps):
        expected = results(Recurrent(tested.cell, backend="eager"), x)
        assert_same(results(compiled, x, modules=tested), expected, TOLERANCE)


def test_a_change_after_a_graph_was_made_of_a_step_that_leaves_nothing_for_its_gradient():
    subject = cell(lambda self, x, h: self.W(x) + self.a * h, W=linear(3, 4), a=0.5)
    compiled, x = layer(subject), inputs().requires_grad_()

    def step(recurrent):
        y, _ = recurrent(x)
        return y, torch.autograd.grad(y.square().sum(), x)[0]

    graph = torch.fx.experimental.proxy_tensor.make_fx(lambda: step(compiled))()
    subject.a = 0.7
    with pytest.warns(UserWarning, match="has changed since a graph was made"):
        y, gradient = graph()
    expected, wanted = step(Recurrent(subject, backend="eager"))
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(gradient, wanted)


OF_A_THREAD, NUMBERS = threading.local(), itertools.count(1)
HIDDEN = {
    "the environment": lambda: float(os.environ.get("SAIKI_TEST_SCALE", "0.5")),
    "a variable of a thread": lambda own=OF_A_THREAD: getattr(own, "scale", 0.5),
    "an iterator": lambda numbers=NUMBERS: 0.5 + 0 * next(numbers),
    "globals by a string": lambda: globals().get("NO_SUCH_SCALE", 0.5),
    "what is evaluated": lambda: eval("0.5"),
    "the identity of an object": lambda: 0.5 + 0 * id(HIDDEN),
    "a cached function": functools.lru_cache(lambda: 0.5),
    "a clock": lambda: 0.5 + 0 * time.time(),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_cannot_be_watched_is_not_compiled(name):
    read = HIDDEN[name]
    subject = cell(lambda self, x, h: torch.tanh(self.W(x) + read() * h), W=linear(3, 4))
    compiled = layer(subject)
    with pytest.warns(UserWarning, match="running step by step"):
        compiled(inputs())


def test_a_second_derivative_of_what_has_changed_is_refused():
    subject = cell(lambda self, x, h: torch.tanh(self.W(x) + self.a * h), W=linear(3, 4), a=0.5)
    compiled, x = layer(subject), inputs().requires_grad_()
    y, _ = compiled(x)
    subject.a = 0.7
    with pytest.raises(CompileError, match="has changed between the forward pass and a derivative"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


# attributes and types of tensors


def test_an_attribute_of_a_tensor_is_refused():
    subject = cell(lambda self, x, h: torch.tanh(self.W(x) + self.W.bias.scale * h), W=linear(3, 4))
    subject.W.bias.scale = 0.5
    compiled = layer(subject)
    with pytest.warns(UserWarning, match=r"may read W\.bias\.scale, an attribute of a tensor"):
        assert_right(compiled, inputs())


@pytest.mark.filterwarnings("ignore:running step by step")
@pytest.mark.parametrize("kind", ["parameter", "buffer", "attribute", "of a list"])
def test_an_attribute_given_to_a_tensor_later(kind):
    tensor = torch.linspace(0.1, 0.9, 4, dtype=torch.float64)
    tensors = {
        "parameter": lambda cell: cell.W.bias,
        "buffer": lambda cell: cell.a,
        "attribute": lambda cell: cell.b,
        "of a list": lambda cell: cell.list[0],
    }
    get = tensors[kind]

    def step(self, x, h):
        return torch.tanh(self.W(x) + get(self) * (0.5 if hasattr(get(self), "flag") else 1.0) * h)

    subject = cell(step, W=linear(3, 4), b=tensor.clone(), list=[tensor.clone()])
    subject.register_buffer("a", tensor.clone())
    compiled, x = layer(subject), inputs()
    assert_right(compiled, x)
    get(subject).flag = True
    assert_right(compiled, x)


def test_attributes_of_tensors_that_no_step_reads_change_nothing():
    subject = cell(lambda self, x, h: torch.tanh(self.W(x) + h), W=linear(3, 4))
    compiled, x = layer(subject), inputs()
    assert_right(compiled, x)
    key = compiled.kernels.find(torch.float64).key
    subject.W.bias.of_mine = True
    assert_right(compiled, x)
    assert compiled.kernels.find(torch.float64).key == key


def test_a_step_that_asks_for_the_type_of_its_parameters_is_right_from_the_first_batch():
    subject = scaled(lambda self: 1.0 if type(self.W.bias) is nn.Parameter else 0.5)
    compiled, x = layer(subject), inputs()
    with pytest.warns(UserWarning, match="running step by step"):
        assert_right(compiled, x)
    assert not vars(subject.W.bias)


# names and kinds of attributes


@pytest.mark.parametrize("name", ["_given", "_kernels", "_warned", "_built", "_names", "_memory"])
def test_an_attribute_may_have_any_name(name):
    """Those under which saiki keeps subject own begin in another way."""
    subject = scaled(lambda self: getattr(self, name), **{name: 0.5})
    compiled, x = layer(subject), inputs()
    assert_right(compiled, x)
    setattr(subject, name, 0.25)
    assert_right(compiled, x)
    assert compiled.why_eager(torch.float64) is None


class Share(float):
    """A number of a kind of subject own."""


class Couple(tuple):
    """A tuple that may have attributes."""


def _pair(extra):
    pair = Couple((1.0, 2.0))
    pair.extra = extra
    return pair


def _partial(extra):
    called = functools.partial(float, 1)
    called.extra = extra
    return called


@pytest.mark.parametrize(
    ("make", "read", "is_compiled"),
    [
        (Share, lambda a: a, True),
        (_pair, lambda a: a.extra, False),
        (_partial, lambda a: a.extra, False),
    ],
    ids=["a kind of number", "a tuple with an attribute", "a partial function with an attribute"],
)
def test_a_value_of_a_kind_of_its_own(make, read, is_compiled):
    subject = cell(lambda self, x, h: torch.tanh(self.W(x) + read(self.a) * h), W=linear(3, 4))
    subject.a = make(0.5)
    compiled, x = layer(subject), inputs()
    assert_right(compiled, x)
    subject.a = make(0.25)
    assert_right(compiled, x)
    assert (compiled.why_eager(torch.float64) is None) == is_compiled

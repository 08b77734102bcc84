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

from compiler.changing import Cases, activated, check, scaled
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
    yield


@changes
def a_global_tensor():
    global TENSOR
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + TENSOR * h), W=linear(3, 4))
    TENSOR = TENSOR * 2
    yield
    TENSOR.div_(2)
    yield


@changes
def a_global_function():
    global FUNCTION
    yield cell(lambda self, x, h: FUNCTION(self.W(x) + h), W=linear(3, 4))
    FUNCTION = other_function
    yield
    FUNCTION = function
    yield


@changes
def a_global_dict():
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + TABLE["decay"] * h), W=linear(3, 4))
    TABLE["decay"] = 0.7
    yield
    TABLE["decay"] = 0.5
    yield


@changes
def an_entry_deep_inside_a_global():
    yield cell(
        lambda self, x, h: torch.tanh(self.W(x) + NESTED["cell"]["rates"][1] * h), W=linear(3, 4)
    )
    NESTED["cell"]["rates"][1] = 0.7
    yield
    NESTED["cell"]["rates"][1] = 0.2
    yield


@changes
def an_attribute_of_a_module():
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + MODULE.decay * h), W=linear(3, 4))
    MODULE.decay = 0.7
    yield
    MODULE.decay = 0.5
    yield


@changes
def a_global_that_a_function_reads():
    def decayed(h):
        return FACTOR * h

    global FACTOR
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + self.f(h)), W=linear(3, 4), f=decayed)
    FACTOR = 0.7
    yield
    FACTOR = 0.5
    yield


def _reads_a_global(h):
    return FACTOR * h


@changes
def a_global_that_a_global_function_reads():
    global FACTOR
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + _reads_a_global(h)), W=linear(3, 4))
    FACTOR = 0.7
    yield
    FACTOR = 0.5
    yield


@changes
def a_closure():
    factor = 0.5
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + factor * h), W=linear(3, 4))
    factor = 0.7
    yield
    factor = 0.5
    yield


@changes
def a_tensor_in_a_closure():
    factor = draw(4)
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + factor * h), W=linear(3, 4))
    factor.add_(1)
    yield
    factor = draw(4)
    yield


@changes
def a_list_in_a_closure():
    factors = [0.5]
    yield cell(lambda self, x, h: torch.tanh(self.W(x) + sum(factors) * h), W=linear(3, 4))
    factors.append(0.2)
    yield
    factors.pop()
    yield


@changes
def a_function_in_a_closure():
    f = torch.tanh
    yield cell(lambda self, x, h: f(self.W(x) + h), W=linear(3, 4))
    f = torch.sigmoid
    yield


@changes
def a_closure_of_a_closure():
    factor = 0.5

    def decay(h):
        return (lambda h: factor * h)(h)

    yield cell(lambda self, x, h: torch.tanh(self.W(x) + decay(h)), W=linear(3, 4))
    factor = 0.7
    yield


# the class and the code of step


@changes
def a_class_attribute():
    its = scaled(lambda self: self.factor)
    type(its).factor = 0.5
    yield its
    type(its).factor = 0.7
    yield
    its.factor = 0.2
    yield
    del its.factor
    yield


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
    yield


@changes
def a_property():
    its = scaled(lambda self: self.factor)
    type(its).factor = property(lambda self: 0.5)
    yield its
    type(its).factor = property(lambda self: 0.7)
    yield


@changes
def what_a_property_reads():
    its = scaled(lambda self: self.factor, rates={"now": 0.5})
    type(its).factor = property(lambda self: 2 * self.rates["now"])
    yield its
    its.rates["now"] = 0.7
    yield


@changes
def step_of_the_class():
    its = scaled(lambda self: 0.5)
    before = type(its).step
    yield its
    type(its).step = lambda self, x, h: torch.sigmoid(self.W(x) + h)
    yield
    type(its).step = before
    yield


@changes
def step_of_the_instance():
    its = scaled(lambda self: 0.5)
    yield its
    its.step = types.MethodType(lambda self, x, h: torch.sigmoid(self.W(x) + h), its)
    yield
    del its.step
    yield


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
    yield


@changes
def a_method():
    its = cell(lambda self, x, h: self.act(self.W(x) + h), W=linear(3, 4))
    type(its).act = lambda self, u: torch.tanh(u)
    yield its
    type(its).act = lambda self, u: torch.sigmoid(u)
    yield
    its.act = lambda u: torch.relu(u)
    yield
    del its.act
    yield


@changes
def a_static_method():
    its = cell(lambda self, x, h: self.act(self.W(x) + h), W=linear(3, 4))
    type(its).act = staticmethod(torch.tanh)
    yield its
    type(its).act = staticmethod(torch.sigmoid)
    yield


@changes
def a_method_that_a_method_calls():
    its = cell(lambda self, x, h: self.outer(self.W(x) + h), W=linear(3, 4))
    type(its).outer = lambda self, u: 0.5 * self.inner(u)
    type(its).inner = lambda self, u: torch.tanh(u)
    yield its
    type(its).inner = lambda self, u: torch.sigmoid(u)
    yield


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
    yield


@changes
def the_class_of_a_cell():
    its = scaled(lambda self: self.factor(), w=draw(4))
    kind = type(its)
    kind.factor = lambda self: 0.5
    yield its
    its.__class__ = type("Other", (kind,), {"factor": lambda self: 0.7})
    yield
    its.__class__ = kind
    yield


@changes
def forward_of_a_module():
    its = activated(lambda self, u: self.f(u), f=nn.Tanh())
    yield its
    its.f.forward = torch.sigmoid
    yield
    del its.f.forward
    yield


@changes
def forward_of_the_class_of_a_module():
    class Act(nn.Module):
        def forward(self, u):
            return torch.tanh(u)

    yield activated(lambda self, u: self.f(u), f=Act())
    Act.forward = lambda self, u: torch.sigmoid(u)
    yield


@changes
def the_class_of_a_module():
    its = activated(lambda self, u: self.f(u), f=nn.Tanh())
    yield its
    its.f.__class__ = nn.Sigmoid
    yield


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
def a_number():
    its = scaled(lambda self: self.decay, decay=0.5)
    yield its
    its.decay = 0.7
    yield
    its.decay = 0.5
    yield


@changes
def a_number_of_another_type():
    its = scaled(lambda self: 1.0 if isinstance(self.decay, bool) else 0.5, decay=1)
    yield its
    its.decay = True
    yield


@changes
def the_sign_of_zero():
    its = scaled(lambda self: math.copysign(0.5, self.decay), decay=0.0)
    yield its
    its.decay = -0.0
    yield


@changes
def a_field_of_a_dataclass():
    its = scaled(lambda self: self.rates.decay, rates=Rates())
    yield its
    its.rates.decay = 0.7
    yield
    its.rates.decay = 0.5
    yield


@changes
def a_field_of_a_field():
    its = scaled(lambda self: self.rates.more.decay, rates=Rates(more=Rates()))
    yield its
    its.rates.more.decay = 0.7
    yield
    its.rates.more = Rates(decay=0.2)
    yield


@changes
def a_field_of_an_object():
    its = scaled(lambda self: self.own.decay, own=types.SimpleNamespace(decay=0.5))
    yield its
    its.own.decay = 0.7
    yield


@changes
def a_slot():
    its = scaled(lambda self: self.own.decay, own=Slots(0.5))
    yield its
    its.own.decay = 0.7
    yield


@changes
def a_property_of_an_object():
    its = scaled(lambda self: self.own.decay, own=Computed(0.5))
    yield its
    its.own._decay = 0.7
    yield


@changes
def the_class_attribute_of_an_object():
    class Own:
        decay = 0.5

    yield scaled(lambda self: self.own.decay, own=Own())
    Own.decay = 0.7
    yield


@changes
def an_object_that_refers_to_itself():
    own = types.SimpleNamespace(decay=0.5)
    own.parent = own
    yield scaled(lambda self: self.own.parent.decay, own=own)
    own.decay = 0.7
    yield


@changes
def a_weak_reference():
    own = Rates()
    yield scaled(lambda self: self.own().decay, own=weakref.ref(own))
    own.decay = 0.7
    yield


@changes
def a_named_tuple():
    its = scaled(lambda self: self.pair.decay * self.pair.gain, pair=Pair(0.5, 1.0))
    yield its
    its.pair = its.pair._replace(decay=0.7)
    yield


@changes
def a_member_of_an_enumeration():
    its = scaled(lambda self: self.mode.value, mode=Mode.SLOW)
    yield its
    its.mode = Mode.FAST
    yield


@changes
def a_dict_entry():
    its = scaled(lambda self: self.rates["decay"], rates={"decay": 0.5})
    yield its
    its.rates["decay"] = 0.7
    yield
    its.rates["decay"] = 0.5
    yield


@changes
def a_new_dict_entry():
    its = scaled(lambda self: self.rates.get("decay", 0.5), rates={})
    yield its
    its.rates["decay"] = 0.7
    yield
    del its.rates["decay"]
    yield


@changes
def the_order_of_a_dict():
    its = scaled(lambda self: next(iter(self.rates.values())), rates={"a": 0.5, "b": 0.7})
    yield its
    its.rates["a"] = its.rates.pop("a")
    yield


@changes
def a_list_element():
    its = scaled(lambda self: self.rates[1], rates=[0.1, 0.5])
    yield its
    its.rates[1] = 0.7
    yield


@changes
def an_object_in_a_list():
    its = scaled(lambda self: self.rates[0].decay, rates=[Rates()])
    yield its
    its.rates[0].decay = 0.7
    yield


@changes
def a_long_list():
    its = scaled(lambda self: sum(self.rates) / 3000, rates=[0.5] * 3000)
    yield its
    its.rates[1500] = 100.0
    yield


@changes
def a_set():
    its = scaled(lambda self: 0.7 if "fast" in self.flags else 0.5, flags=set())
    yield its
    its.flags.add("fast")
    yield
    its.flags.clear()
    yield


@changes
def a_deque():
    its = scaled(lambda self: self.rates[-1], rates=collections.deque([0.5], maxlen=3))
    yield its
    its.rates.append(0.7)
    yield


@changes
def a_default_set_later():
    its = scaled(lambda self: getattr(self, "decay", 0.5))
    yield its
    its.decay = 0.7
    yield
    del its.decay
    yield


@changes
def an_attribute_deleted():
    its = scaled(lambda self: self.decay if hasattr(self, "decay") else 0.7, decay=0.5)
    yield its
    del its.decay
    yield


@changes
def an_attribute_of_none():
    its = scaled(lambda self: 0.7 if self.decay is None else self.decay, decay=0.5)
    yield its
    its.decay = None
    yield


@changes
def the_name_of_an_activation():
    its = activated(lambda self, u: getattr(torch, self.name)(u), name="tanh")
    yield its
    its.name = "sigmoid"
    yield


@changes
def a_function():
    its = activated(lambda self, u: self.f(u), f=torch.tanh)
    yield its
    its.f = F.silu
    yield
    its.f = torch.tanh
    yield


@changes
def a_partial():
    its = activated(
        lambda self, u: self.f(u), f=functools.partial(F.leaky_relu, negative_slope=0.1)
    )
    yield its
    its.f.keywords["negative_slope"] = 0.3
    yield
    its.f = functools.partial(F.leaky_relu, negative_slope=0.2)
    yield


@changes
def the_defaults_of_a_function():
    def f(u, by=0.5, *, bias=0.0):
        return torch.tanh(u * by + bias)

    yield activated(lambda self, u: self.f(u), f=f)
    f.__defaults__ = (0.7,)
    yield
    f.__kwdefaults__["bias"] = 0.2
    yield


@changes
def an_attribute_of_a_function():
    def f(u):
        return torch.tanh(u * f.by)

    f.by = 0.5
    yield activated(lambda self, u: self.f(u), f=f)
    f.by = 0.7
    yield


@changes
def the_call_of_an_object():
    class Own:
        def __call__(self, u):
            return torch.tanh(u)

    yield activated(lambda self, u: self.f(u), f=Own())
    Own.__call__ = lambda self, u: torch.sigmoid(u)
    yield


@changes
def a_method_of_an_object():
    class Own:
        by = 0.5

        def f(self, u):
            return torch.tanh(u * self.by)

    own = Own()
    yield activated(lambda self, u: self.f(u), f=own.f)
    own.by = 0.7
    yield


@changes
def a_numpy_array():
    its = scaled(lambda self: torch.from_numpy(self.rates), rates=np.linspace(0.1, 0.4, 4))
    yield its
    its.rates[2] = 0.9
    yield
    its.rates = np.linspace(0.2, 0.5, 4)
    yield


@changes
def numbers_of_a_numpy_array():
    its = scaled(lambda self: float(self.rates[1]), rates=np.linspace(0.1, 0.4, 4))
    yield its
    its.rates[1] = 0.9
    yield


@changes
def a_large_numpy_array():
    its = scaled(lambda self: float(self.rates[700]), rates=np.full(2000, 0.5))
    yield its
    its.rates[700] = 0.9
    yield


@changes
def a_numpy_scalar():
    its = scaled(lambda self: float(self.decay), decay=np.float64(0.5))
    yield its
    its.decay = np.float64(0.7)
    yield


@changes
def a_fraction():
    its = scaled(lambda self: float(self.decay), decay=fractions.Fraction(1, 2))
    yield its
    its.decay = fractions.Fraction(2, 3)
    yield


@changes
def a_tensor():
    its = scaled(lambda self: self.w, w=draw(4))
    yield its
    its.w = draw(4)
    yield
    its.w.mul_(2)
    yield
    its.w = None if its.w is None else draw(1)
    yield


@changes
def a_tensor_in_a_list():
    its = scaled(lambda self: self.ws[0], ws=[draw(4)])
    yield its
    its.ws[0] = draw(4)
    yield
    its.ws[0].mul_(2)
    yield


# numbers read from tensors


@changes
def float_of_a_buffer():
    its = scaled(lambda self: float(self.t))
    its.register_buffer("t", torch.tensor(0.5, dtype=torch.float64))
    yield its
    its.t.fill_(0.7)
    yield
    its.t = torch.tensor(0.2, dtype=torch.float64)
    yield


@changes
def item_of_a_buffer():
    its = scaled(lambda self: self.t.item() ** 0.5)
    its.register_buffer("t", torch.tensor(0.5, dtype=torch.float64))
    yield its
    its.t.mul_(1.5)
    yield


@changes
def a_buffer_that_decides():
    its = scaled(lambda self: 0.5 if self.flag else 0.7)
    its.register_buffer("flag", torch.tensor(True))
    yield its
    its.flag.fill_(False)
    yield
    its.flag.fill_(True)
    yield


@changes
def a_buffer_that_counts():
    its = scaled(lambda self: sum(0.2 for _ in range(int(self.n))))
    its.register_buffer("n", torch.tensor(2))
    yield its
    its.n.add_(1)
    yield


@changes
def numbers_of_a_parameter():
    its = scaled(lambda self: self.decay.tolist()[0], decay=nn.Parameter(torch.ones(2)))
    yield its
    with torch.no_grad():
        its.decay.mul_(0.7)
    yield


@changes
def float_of_an_attribute():
    its = scaled(lambda self: float(self.t), t=torch.tensor(0.5))
    yield its
    its.t.fill_(0.7)
    yield


@changes
def an_index_from_a_buffer():
    its = scaled(lambda self: self.ws[self.n], ws=draw(3, 4))
    its.register_buffer("n", torch.tensor(0))
    yield its
    its.n.fill_(2)
    yield


# parameters and buffers


@changes
def a_parameter_of_none():
    its = activated(lambda self, u: torch.tanh(u if self.b is None else u * self.b))
    its.register_parameter("b", None)
    yield its
    its.b = nn.Parameter(draw(4))
    yield
    its.b = None
    yield


@changes
def a_bias_of_none():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    bias = its.U.bias
    its.U.bias = None
    yield
    its.U.bias = bias
    yield


@changes
def a_buffer_of_none():
    its = activated(lambda self, u: torch.tanh(u if self.b is None else u * self.b))
    its.register_buffer("b", None)
    yield its
    its.b = draw(4)
    yield
    its.b = None
    yield


@changes
def a_buffer_registered_later():
    its = activated(lambda self, u: torch.tanh(u * getattr(self, "b", 1.0)))
    yield its
    its.register_buffer("b", draw(4))
    yield
    del its.b
    yield


@changes
def a_parameter_that_becomes_a_buffer():
    its = scaled(lambda self: self.w, w=nn.Parameter(draw(4)))
    yield its
    w = its.w.detach()
    del its.w
    its.register_buffer("w", w)
    yield


@changes
def a_parameter_that_becomes_an_attribute():
    its = scaled(lambda self: self.w, w=nn.Parameter(draw(4)))
    yield its
    w = its.w.detach() * 2
    del its.w
    its.w = w
    yield
    w.mul_(2)
    yield


@changes
def another_parameter():
    its = scaled(lambda self: self.w, w=nn.Parameter(draw(4)))
    yield its
    its.w = nn.Parameter(draw(4))
    yield
    its.w = nn.Parameter(draw(1))
    yield


@changes
def data_replaced():
    its = scaled(lambda self: self.w, w=nn.Parameter(draw(4)))
    yield its
    its.w.data = draw(4)
    yield
    its.w.data = draw(1)
    yield


@changes
def data_copied_into():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    its.U.weight.data.copy_(draw(4, 4))
    yield


@changes
def data_in_another_layout():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    its.U.weight.data = draw(8, 4).t()[:, ::2]
    yield


@changes
def a_state_dict_loaded():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    its.load_state_dict({name: draw(*t.shape) for name, t in its.state_dict().items()})
    yield
    its.load_state_dict({name: draw(*t.shape) for name, t in its.state_dict().items()}, assign=True)
    yield


@changes
def a_parameter_that_is_frozen():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    its.U.weight.requires_grad_(False)
    yield
    its.U.weight.requires_grad_(True)
    yield


@changes
def what_a_step_makes_of_frozen_parameters():
    its = cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.w * h) * (1 + self.w.requires_grad),
        W=linear(3, 4), w=nn.Parameter(draw(4)),
    )  # fmt: skip
    yield its
    its.w.requires_grad_(False)
    yield


@changes
def weights_tied():
    its = cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.A(h) + self.B(torch.tanh(h))),
        W=linear(3, 4), A=linear(4, 4), B=linear(4, 4),
    )  # fmt: skip
    own = its.B.weight
    yield its
    its.B.weight = its.A.weight
    yield
    its.B.weight = own
    yield


@changes
def modules_tied():
    its = cell(
        lambda self, x, h: torch.tanh(self.W(x) + self.A(h) + self.B(torch.tanh(h))),
        W=linear(3, 4), A=linear(4, 4), B=linear(4, 4),
    )  # fmt: skip
    own = its.B
    yield its
    its.B = its.A
    yield
    its.B = own
    yield


@changes
def a_tie_that_changes_sides():
    its = cell(
        lambda self, x, h: torch.tanh(self.A(x) * self.B(h) + self.C(h)),
        inputs=4, A=linear(4, 4), B=linear(4, 4), C=linear(4, 4),
    )  # fmt: skip
    its.B.weight = its.A.weight
    yield its
    its.B.weight, its.C.weight = its.C.weight, its.A.weight
    yield


@changes
def parameters_that_share_memory():
    its = scaled(lambda self: self.a * self.b, a=nn.Parameter(draw(4)), b=nn.Parameter(draw(4)))
    yield its
    its.b.data = its.a.data
    yield


# modules


@changes
def a_sequential_that_grows():
    its = activated(lambda self, u: self.f(u), f=nn.Sequential(nn.Tanh()))
    yield its
    its.f.append(linear(4, 4).double())
    yield
    del its.f[1]
    yield


@changes
def a_part_of_a_sequential():
    its = activated(lambda self, u: self.f(u), f=nn.Sequential(nn.Tanh(), nn.Tanh()))
    yield its
    its.f[1] = nn.Sigmoid()
    yield


@changes
def a_list_of_modules():
    def f(self, u):
        for part in self.parts:
            u = torch.tanh(part(u))
        return u

    its = activated(f, parts=nn.ModuleList([linear(4, 4)]))
    yield its
    its.parts.append(linear(4, 4).double())
    yield
    its.parts[0] = nn.Identity()
    yield
    del its.parts[0]
    yield
    its.parts.insert(0, linear(4, 4, bias=False).double())
    yield


@changes
def a_dict_of_modules():
    def f(self, u):
        return torch.tanh(sum((part(u) for part in self.parts.values()), u))

    its = activated(f, parts=nn.ModuleDict({"a": linear(4, 4)}))
    yield its
    its.parts["b"] = linear(4, 4).double()
    yield
    del its.parts["a"]
    yield


@changes
def a_list_of_parameters():
    its = scaled(lambda self: sum(self.ws), ws=nn.ParameterList([nn.Parameter(draw(4))]))
    yield its
    its.ws.append(nn.Parameter(draw(4)))
    yield


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
    yield


@changes
def a_module_added_later():
    its = activated(lambda self, u: torch.tanh(self.extra(u) if hasattr(self, "extra") else u))
    yield its
    its.extra = linear(4, 4).double()
    yield
    del its.extra
    yield


@changes
def a_module_of_none():
    its = activated(
        lambda self, u: torch.tanh(u if self.extra is None else self.extra(u)), extra=None
    )
    yield its
    its.extra = nn.LayerNorm(4).double()
    yield
    its.extra = None
    yield


@changes
def a_module_replaced():
    its = activated(lambda self, u: self.f(u), f=nn.Tanh())
    yield its
    its.f = nn.PReLU().double()
    yield


@changes
def an_option_of_a_module():
    its = activated(lambda self, u: self.norm(self.f(u)), f=nn.LeakyReLU(0.1), norm=nn.LayerNorm(4))
    yield its
    its.f.negative_slope = 0.3
    yield
    its.norm.eps = 0.1
    yield


@changes
def training_and_evaluation():
    its = scaled(lambda self: 0.5 if self.training else 0.7)
    yield its
    its.eval()
    yield
    its.train()
    yield


@changes
def evaluation_of_a_module():
    its = activated(
        lambda self, u: torch.tanh(self.f(u) if self.f.training else u), f=nn.Softplus()
    )
    yield its
    its.f.eval()
    yield
    its.f.train()
    yield


@changes
def dropout_in_evaluation():
    class Halves(nn.Module):
        def forward(self, u):
            return 0.5 * u if self.training else u

    its = activated(lambda self, u: torch.tanh(self.f(u)), f=nn.Sequential(Halves()))
    yield its
    its.eval()
    yield


# parametrisations, pruning and norms


class Symmetric(nn.Module):
    def forward(self, w):
        return w.triu() + w.triu(1).T


@changes
def a_parametrisation():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    parametrize.register_parametrization(its.U, "weight", Symmetric())
    yield
    with torch.no_grad():
        its.U.parametrizations.weight.original.mul_(2)
    yield
    parametrize.remove_parametrizations(its.U, "weight", leave_parametrized=False)
    yield


@changes
def an_orthogonal_parametrisation():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    parametrizations.orthogonal(its.U)
    yield


@changes
def a_second_parametrisation():
    its = activated(lambda self, u: torch.tanh(u))
    parametrize.register_parametrization(its.U, "weight", Symmetric())
    yield its
    parametrize.register_parametrization(its.U, "weight", nn.Tanh())
    yield


@changes
def weight_norm():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    parametrizations.weight_norm(its.U)
    with torch.no_grad():
        its.U.parametrizations.weight.original0.mul_(2)
    yield


@changes
def weight_norm_as_it_was():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    nn.utils.weight_norm(its.U)
    with torch.no_grad():
        its.U.weight_g.mul_(2)
    yield
    nn.utils.remove_weight_norm(its.U)
    yield


@changes
def spectral_norm():
    its = activated(lambda self, u: torch.tanh(u)).eval()
    yield its
    parametrizations.spectral_norm(its.U).eval()
    yield


@changes
def pruning():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    prune.l1_unstructured(its.U, "weight", amount=0.5)
    yield
    prune.random_unstructured(its.W, "weight", amount=3)
    yield
    prune.remove(its.U, "weight")
    with torch.no_grad():
        its.U.weight.add_(0.1)
    yield


# hooks


@changes
def a_hook_on_a_module():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    handle = its.U.register_forward_hook(lambda module, given, result: 0.5 * result)
    yield
    handle.remove()
    yield


@changes
def a_hook_before_a_module():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    handle = its.U.register_forward_pre_hook(lambda module, given: (0.5 * given[0],))
    yield
    handle.remove()
    yield


@changes
def a_hook_on_the_cell():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    handle = its.register_forward_hook(lambda module, given, new: (0.5 * new[0],))
    yield
    handle.remove()
    yield


@changes
def a_hook_on_a_module_that_came_later():
    its = activated(lambda self, u: self.f(u), f=nn.Tanh())
    yield its
    its.f = nn.Sigmoid()
    yield
    its.f.register_forward_hook(lambda module, given, result: 0.5 * result)
    yield


@changes
def a_hook_on_all_modules():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    halve = lambda module, given, result: 0.5 * result if module is its.U else None  # noqa: E731
    handle = nn.modules.module.register_module_forward_hook(halve)
    try:
        yield
    finally:
        handle.remove()
    yield


@changes
def a_hook_on_the_gradient_of_a_module():
    its = activated(lambda self, u: torch.tanh(u))
    yield its
    handle = its.W.register_full_backward_hook(lambda module, of_x, of_y: (0.5 * of_x[0],))
    yield
    handle.remove()
    yield


@changes
def a_hook_on_the_gradient_of_a_parameter():
    its = scaled(lambda self: self.w, w=nn.Parameter(draw(4)))
    yield its
    handle = its.w.register_hook(lambda gradient: 0.5 * gradient)
    yield
    handle.remove()
    yield


# the state of PyTorch


@changes
def the_default_type():
    yield scaled(lambda self: torch.tensor(0.1))
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)
    yield


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
    found, x = layer(graded()), inputs()
    for mode in (first, torch.enable_grad, torch.no_grad, torch.enable_grad):
        with mode():
            expected, _ = Recurrent(found.cell, backend="eager")(x)
            y, _ = found(x)
            torch.testing.assert_close(y, expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_gradients_after_a_first_call_without():
    found, x = layer(GRU(3, 4).double()), inputs()
    with torch.no_grad():
        found(x)
    assert_same(results(found, x), results(Recurrent(found.cell, backend="eager"), x), TOLERANCE)


@pytest.mark.parametrize("kind", ["the same class", "another class", "another size"])
def test_another_cell(kind):
    others = {
        "the same class": lambda: cell(type(first).step, W=linear(3, 4)),
        "another class": lambda: GRU(3, 4).double(),
        "another size": lambda: GRU(3, 5).double(),
    }
    first = scaled(lambda self: 0.5)
    found, x = layer(first), inputs()
    for its in (first, others[kind](), first):
        found.cell = its
        expected = results(Recurrent(its, backend="eager"), x)
        assert_same(results(found, x), expected, TOLERANCE)


def test_another_cell_of_the_class_that_was_compiled_before_the_change():
    first, second = GRU(3, 4).double(), GRU(3, 4).double()
    found, other, x = layer(first), layer(second), inputs()
    found(x), other(x)
    found.cell = second
    assert_same(results(found, x), results(Recurrent(second, backend="eager"), x), TOLERANCE)
    with torch.no_grad():
        for p in second.parameters():
            p.mul_(1.5)
    assert_same(results(found, x), results(Recurrent(second, backend="eager"), x), TOLERANCE)


def test_the_cells_of_two_layers_become_one():
    model = nn.ModuleList([layer(scaled(lambda self: 0.5)), layer(scaled(lambda self: 0.7))])
    x = inputs()
    for part in model:
        part(x)
    model[1].cell = model[0].cell
    found, expected = (
        [results(part, x) for part in parts]
        for parts in (model, [Recurrent(part.cell, backend="eager") for part in model])
    )
    for a, b in zip(found, expected, strict=True):
        assert_same(a, b, TOLERANCE)
    ((model[0](x)[0] + model[1](x)[0]).sum()).backward()
    once = torch.autograd.grad(model[0](x)[0].sum(), model[0].cell.W.weight)[0]
    torch.testing.assert_close(model[0].cell.W.weight.grad, 2 * once)


def test_the_direction():
    found, x = layer(GRU(3, 4).double()), inputs()
    for reverse in (False, True, False):
        found.reverse = reverse
        expected = results(Recurrent(found.cell, reverse, "eager"), x)
        assert_same(results(found, x), expected, TOLERANCE)


def test_the_backend():
    found, x = layer(GRU(3, 4).double()), inputs()
    for backend in ("auto", "eager", "cpu", "auto"):
        found.backend = backend
        expected = results(Recurrent(found.cell, backend="eager"), x)
        assert_same(results(found, x), expected, TOLERANCE)


def test_the_type():
    found = layer(scaled(lambda self: self.w, w=nn.Parameter(torch.ones(4))))
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-4), (torch.float64, 1e-10)):
        found.to(dtype)
        x = inputs().to(dtype)
        expected = results(Recurrent(found.cell, backend="eager"), x)
        assert_same(results(found, x), expected, tolerance)


def test_what_a_cell_owns_is_another_in_a_copy():
    """A copy and the original change apart."""
    first = layer(scaled(lambda self: self.rates[0], rates=[0.5]))
    x = inputs()
    first(x)
    second = copy.deepcopy(first)
    second.cell.rates[0] = 0.7
    for found in (first, second):
        expected = results(Recurrent(found.cell, backend="eager"), x)
        assert_same(results(found, x), expected, TOLERANCE)


@pytest.fixture
def dynamo():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("dynamo")
@pytest.mark.parametrize("fullgraph", [False, True])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_evaluation_after_torch_compile(backend, fullgraph):
    found, x = layer(scaled(lambda self: 0.5 if self.training else 0.7)), inputs()
    compiled = torch.compile(found, backend=backend, fullgraph=fullgraph)
    for change in (found.train, found.eval, found.train):
        change()
        expected = results(Recurrent(found.cell, backend="eager"), x)
        assert_same(results(compiled, x), expected, TOLERANCE)


@pytest.mark.usefixtures("dynamo")
def test_another_cell_after_torch_compile():
    first, second = scaled(lambda self: 0.5), GRU(3, 4).double()
    found, x = layer(first), inputs()
    compiled = torch.compile(found, backend="eager")
    for its in (first, second, first):
        found.cell = its
        assert_same(
            results(compiled, x, modules=found),
            results(Recurrent(its, backend="eager"), x),
            TOLERANCE,
        )


@pytest.mark.usefixtures("dynamo")
@pytest.mark.parametrize(
    "case", [a_number, a_dict_entry, a_global, a_parameter_of_none, data_replaced]
)
def test_a_change_after_torch_compile(case):
    x, steps = inputs(), case()
    found = layer(next(steps))
    compiled = torch.compile(found, backend="eager")
    results(compiled, x, modules=found)
    for _ in steps:
        expected = results(Recurrent(found.cell, backend="eager"), x)
        assert_same(results(compiled, x, modules=found), expected, TOLERANCE)


def test_a_change_after_a_graph_was_made_of_a_step_that_leaves_nothing_for_its_gradient():
    its = cell(lambda self, x, h: self.W(x) + self.a * h, W=linear(3, 4), a=0.5)
    found, x = layer(its), inputs().requires_grad_()

    def step(given):
        y, _ = given(x)
        return y, torch.autograd.grad(y.square().sum(), x)[0]

    graph = torch.fx.experimental.proxy_tensor.make_fx(lambda: step(found))()
    its.a = 0.7
    with pytest.warns(UserWarning, match="has changed since a graph was made"):
        y, gradient = graph()
    expected, wanted = step(Recurrent(its, backend="eager"))
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
    its = cell(lambda self, x, h: torch.tanh(self.W(x) + read() * h), W=linear(3, 4))
    found = layer(its)
    with pytest.warns(UserWarning, match="running step by step"):
        found(inputs())


def test_a_second_derivative_of_what_has_changed_is_refused():
    its = cell(lambda self, x, h: torch.tanh(self.W(x) + self.a * h), W=linear(3, 4), a=0.5)
    found, x = layer(its), inputs().requires_grad_()
    y, _ = found(x)
    its.a = 0.7
    with pytest.raises(CompileError, match="has changed between the forward pass and a derivative"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


# attributes and types of tensors


def test_an_attribute_of_a_tensor_is_refused():
    its = cell(lambda self, x, h: torch.tanh(self.W(x) + self.W.bias.scale * h), W=linear(3, 4))
    its.W.bias.scale = 0.5
    found = layer(its)
    with pytest.warns(UserWarning, match=r"may read W\.bias\.scale, an attribute of a tensor"):
        assert_right(found, inputs())


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

    its = cell(step, W=linear(3, 4), b=tensor.clone(), list=[tensor.clone()])
    its.register_buffer("a", tensor.clone())
    found, x = layer(its), inputs()
    assert_right(found, x)
    get(its).flag = True
    assert_right(found, x)


def test_attributes_of_tensors_that_no_step_reads_change_nothing():
    its = cell(lambda self, x, h: torch.tanh(self.W(x) + h), W=linear(3, 4))
    found, x = layer(its), inputs()
    assert_right(found, x)
    key = found.kernels.find(torch.float64).key
    its.W.bias.of_mine = True
    assert_right(found, x)
    assert found.kernels.find(torch.float64).key == key


def test_a_step_that_asks_for_the_type_of_its_parameters_is_right_from_the_first_batch():
    its = cell(
        lambda self, x, h: torch.tanh(
            self.W(x) + (1.0 if type(self.W.bias) is nn.Parameter else 0.5) * h
        ),
        W=linear(3, 4),
    )
    found, x = layer(its), inputs()
    with pytest.warns(UserWarning, match="running step by step"):
        assert_right(found, x)
    assert not vars(its.W.bias)


# names and kinds of attributes


@pytest.mark.parametrize("name", ["_given", "_kernels", "_warned", "_built", "_names", "_memory"])
def test_an_attribute_may_have_any_name(name):
    """Those under which saiki keeps its own begin in another way."""
    its = cell(
        lambda self, x, h: torch.tanh(self.W(x) + getattr(self, name) * h),
        W=linear(3, 4),
        **{name: 0.5},
    )
    found, x = layer(its), inputs()
    assert_right(found, x)
    setattr(its, name, 0.25)
    assert_right(found, x)
    assert found.why_eager(torch.float64) is None


class Share(float):
    """A number of a kind of its own."""


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
    its = cell(lambda self, x, h: torch.tanh(self.W(x) + read(self.a) * h), W=linear(3, 4))
    its.a = make(0.5)
    found, x = layer(its), inputs()
    assert_right(found, x)
    its.a = make(0.25)
    assert_right(found, x)
    assert (found.why_eager(torch.float64) is None) == is_compiled

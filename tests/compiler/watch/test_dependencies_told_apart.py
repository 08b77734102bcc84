"""What looks the same to a step that is watched, and is not: each is told from the other.

A case returns what a step reads, or a cell, and what changes it; what it sets by ``patch`` is
undone by itself.
"""

import builtins
import collections
import dataclasses
import decimal
import math
import mmap
import struct
import types
from contextvars import ContextVar
from functools import partial
from operator import setitem

import numpy as np
import pytest
import torch
from torch import nn

from compiler.changing import Cases, activated, check_change, differ, scaled
from compiler.twins import OF_PYTORCH, ignored, inputs, layer, results
from saiki import Recurrent

pytestmark = [
    ignored("running step by step:UserWarning"),
    *map(ignored, OF_PYTORCH),
]

changes = Cases()
MEMORY = np.full(1, 0.5), np.full(1, 0.7)
"""Which nothing but its address tells."""
HELD = ContextVar("HELD")


def rates(value):
    return torch.full((4,), value, dtype=torch.float64)


def bits(number):
    return struct.unpack("d", struct.pack("Q", number))[0]


# tensors that cannot be replaced where they are


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    rates: torch.Tensor


HOLDERS = {
    "a tuple": (lambda t: (t,), lambda held: held[0]),
    "a frozen object": (Frozen, lambda held: held.rates),
    "a part of a function": (lambda t: partial(torch.mul, t), lambda held: held(1.0)),
    "a bound method": (lambda t: t.mul, lambda held: held(1.0)),
    "a bound operator": (lambda t: t.__mul__, lambda held: held(1.0)),
    "a default": (lambda t: lambda t=t: t, lambda held: held()),
    "a class": (lambda t: type("Gate", (), {"rates": t}), lambda held: held.rates),
}


@pytest.mark.parametrize(("make", "read"), HOLDERS.values(), ids=HOLDERS)
def test_another_holder_of_a_tensor_is_noticed(make, read):
    subject = scaled(lambda self: read(self.held), held=make(rates(0.5)))
    check_change(subject, lambda: setattr(subject, "held", make(rates(0.7))))


@changes
def a_tensor_in_a_variable_of_the_context(patch):
    HELD.set(rates(0.5))
    return scaled(lambda self: HELD.get()), lambda: HELD.set(rates(0.7))


def closing_over(value):
    return lambda: value


@changes
def tensors_in_variables_of_one_name(patch):
    one, other = closing_over(rates(0.5)), closing_over(rates(0.5))
    cell = other.__closure__[0]
    change = partial(setattr, cell, "cell_contents", rates(0.7))
    return scaled(lambda self: one() * other()), change


# what a tensor is


@pytest.mark.parametrize("place", ["attribute", "buffer", "tuple"])
def test_a_tensor_that_comes_to_be_learnt_has_a_gradient(place):
    held = rates(0.5)
    subject = scaled(lambda self: self.held[0] if place == "tuple" else self.held)
    subject.register_buffer("held", held) if place == "buffer" else None
    subject.held = (held,) if place == "tuple" else held
    compiled, x = layer(subject), inputs(3)
    compiled(x)
    held.requires_grad_()
    expected = results(Recurrent(subject, backend="eager"), x, [held])["gradient of other 0"]
    torch.testing.assert_close(results(compiled, x, [held])["gradient of other 0"], expected)


@changes
def whether_a_tensor_is_a_parameter(patch):
    held = torch.ones(4)
    is_parameter = lambda: 0.7 if isinstance(held, nn.Parameter) else 0.5  # noqa: E731
    return is_parameter, partial(setattr, held, "_is_param", True)


@changes
def whether_a_weight_has_the_other_sign_in_memory(patch):
    subject = activated(lambda self, s: torch.tanh(s))
    turned = torch.complex(torch.ones(4, 4), torch.rand(4, 4)).to(torch.complex128).conj().imag
    return subject, partial(setattr, subject.U.weight, "data", turned)


def graded(saved):
    made = torch.ones(4, dtype=torch.complex128, requires_grad=True) * 1
    made.retain_grad() if saved else made.register_hook(abs)
    return made


QUESTIONS = {
    "is conjugated": (lambda held: held.is_conj(), torch.conj),
    "has its gradient kept": (lambda held: held.retains_grad, lambda t: graded(saved=True)),
    "has hooks": (lambda held: bool(held._backward_hooks), lambda t: graded(saved=False)),
    "has gaps": (
        lambda held: torch.ops.aten.stride(held)[0] > 1,
        lambda t: t.repeat_interleave(2)[::2],
    ),
    "overlaps itself": (torch._debug_has_internal_overlap, lambda t: t[:1].expand(4)),
    "is printed": (lambda held: "7" in repr(held), lambda t: t * 0.7),
}


@pytest.mark.parametrize(("ask", "turn"), QUESTIONS.values(), ids=QUESTIONS)
def test_another_answer_to_what_is_asked_of_a_tensor_is_noticed(ask, turn):
    held = torch.ones(4, dtype=torch.complex128)
    subject = scaled(lambda self: 0.7 if ask(self.held) else 0.5, held=held)
    check_change(subject, lambda: setattr(subject, "held", turn(held)))


# numbers

NUMBERS = {
    "the sign of none": (math.nan, -math.nan, lambda held: math.copysign(0.5, held)),
    "the bits of none": (
        bits(0x7FF8000000000001),
        bits(0x7FF8000000000007),
        lambda held: struct.pack("d", held)[0] / 10,
    ),
    "the sign of none of NumPy": (
        np.float64("nan"),
        -np.float64("nan"),
        lambda held: float(np.copysign(0.5, held)),
    ),
    "the sign of a part that is none": (
        complex(0, math.nan),
        complex(0, -math.nan),
        lambda held: math.copysign(0.5, held.imag),
    ),
}


@pytest.mark.parametrize(("one", "other", "read"), NUMBERS.values(), ids=NUMBERS)
def test_another_number_is_noticed(one, other, read):
    subject = scaled(lambda self: read(self.held), held=one)
    check_change(subject, partial(setattr, subject, "held", other))


@changes
def an_attribute_of_a_kind_of_number_of_numpy(patch):
    held = type("Rate", (np.float64,), {})(1)
    held.low = 0.5
    return lambda: held.low, partial(setattr, held, "low", 0.7)


@changes
def how_numbers_of_numpy_alone_are_divided(patch):
    one, zero, before = np.float64(1), np.float64(0), np.seterr(all="ignore")

    def read():
        try:
            return 0.5 if one / zero > 1 else 0.3
        except FloatingPointError:
            return 0.7

    return read, partial(np.seterr, all="raise"), partial(np.seterr, **before)


# objects


@changes
def a_class_above_another(patch):
    low = type("Low", (), {"rate": 0.5})
    high = type("High", (low,), {"rate": 0.7})
    held = [high(), low]
    return lambda: held[1].rate, partial(setitem, held, 1, high)


@changes
def the_attributes_of_a_function_as_a_whole(patch):
    def gate():
        pass

    gate.rate = 0.5
    return lambda: gate.rate, partial(setattr, gate, "__dict__", {"rate": 0.7})


@changes
def a_slot_that_another_hides(patch):
    class Base:
        __slots__ = ("rate",)

    class Gate(Base):
        __slots__ = ("rate",)

    gate = Gate()
    gate.rate = 0.3
    Base.rate.__set__(gate, 0.5)
    return lambda: super(Gate, gate).rate, lambda: Base.rate.__set__(gate, 0.7)


@changes
def a_slot_for_which_a_function_stands_in(patch):
    class Gate:
        __slots__ = ("rate",)

        def __getattr__(self, name):
            return 0.7

    gate = Gate()
    gate.rate = 0.5
    return lambda: gate.rate, partial(delattr, gate, "rate")


@changes
def a_property_that_is_replaced(patch):
    rate = property(lambda self: 0.5)
    gate = type("Gate", (), {"rate": rate})()
    return lambda: gate.rate, lambda: rate.__init__(lambda self: 0.7)


@changes
def the_owner_of_what_is_above(patch):
    base = type("Base", (), {"rate": 0.5})
    middle = type("Middle", (base,), {"rate": 0.7})
    top = type("Top", (middle,), {"rate": 0.6})
    held, gate = super(middle, top()), top()
    return lambda: held.rate, lambda: super.__init__(held, top, gate)


@changes
def the_length_of_a_queue_that_is_replaced(patch):
    queue = collections.deque([1], 5)
    return lambda: queue.maxlen / 10, lambda: queue.__init__([1], 7)


@changes
def the_order_of_an_ordered_dictionary_as_a_dictionary(patch):
    held = collections.OrderedDict(a=0.5, b=0.7)

    def change():
        held["a"] = held.pop("a")
        held.move_to_end("a", last=False)

    return lambda: next(iter(dict.values(held))), change


@changes
def how_much_memory_a_list_has(patch):
    held = [1]
    return lambda: held.__sizeof__() / 1000, lambda: (
        held.extend(range(9)),
        held.__delitem__(slice(1, None)),
    )


@changes
def what_c_code_reads_of_an_object(patch):
    gate = type("Gate", (), {"__array_interface__": MEMORY[0].__array_interface__})()
    change = partial(setattr, type(gate), "__array_interface__", MEMORY[1].__array_interface__)
    return lambda: float(np.asarray(gate)[0]), change


# what Python and PyTorch call of themselves


@changes
def what_makes_classes(patch):
    real = builtins.__build_class__

    def other(function, name, *bases):
        made = real(function, name, *bases)
        made.rate = 0.7
        return made

    def read():
        class Gate:
            rate = 0.5

        return Gate.rate

    return read, partial(setattr, builtins, "__build_class__", other), partial(
        setattr, builtins, "__build_class__", real
    )  # fmt: skip


@changes
def what_imports(patch):
    real, other = builtins.__import__, types.SimpleNamespace(e=1.0)

    def fetched(name, *more):
        return other if name == "math" else real(name, *more)

    def read():
        import math

        return math.e / 5

    return read, partial(setattr, builtins, "__import__", fetched), partial(
        setattr, builtins, "__import__", real
    )  # fmt: skip


# classes in C, whose calls nobody hears


@changes
def the_context_of_decimals_held_by_their_class(patch):
    number = decimal.Decimal
    change = partial(patch.setattr, decimal.getcontext(), "prec", 1)
    return lambda: float(number(1) / number(7)), change


def test_a_change_of_a_file_in_memory_is_noticed(tmp_path):
    path = tmp_path / "rates"
    path.write_bytes(b"2" * 100)
    with path.open("r+b") as file:
        number = file.fileno()

        def change():
            with path.open("r+b") as other:
                other.write(b"d")

        check_change(lambda: mmap.mmap(number, 0)[0] / 100, change)


# steps that change what they read


class Slotted:
    __slots__ = ("count",)


def counting():
    """What holds a number, what reads it, and what puts another there."""
    slotted, swapped = Slotted(), type("Gate", (), {})()
    numbers, named = bytearray(1), lambda: None

    def default(count=0):
        return count

    return {
        "bytes": (lambda: numbers[0], partial(setitem, numbers, 0)),
        "a slot": (lambda: slotted.count, partial(setattr, slotted, "count")),
        "a default": (
            lambda: default(), lambda count: setattr(default, "__defaults__", (count,))
        ),
        "a name": (
            lambda: int(named.__name__), lambda count: setattr(named, "__name__", str(count))
        ),
        "all attributes": (
            lambda: swapped.count, lambda count: setattr(swapped, "__dict__", {"count": count})
        ),
        "a variable of the context": (HELD.get, HELD.set),
    }  # fmt: skip


@pytest.mark.parametrize(("get", "put"), counting().values(), ids=counting())
def test_a_step_that_counts_runs_in_the_eager_loop(get, put):
    def counted(get=get, put=put):
        put(get() + 1)
        return 0.5 if get() < 100 else 0.7

    put(0)
    subject = scaled(lambda self: counted())
    compiled, slow, x = layer(subject), Recurrent(subject, backend="eager"), inputs(3)
    compiled(x)
    assert "changes" in compiled.why_eager(torch.float64)
    outputs = []
    for each in (slow, compiled):
        put(0)
        outputs.append([each(x)[0].detach() for _ in range(20)])
    assert differ(dict(enumerate(outputs[0])), dict.fromkeys(range(20), outputs[0][0]))
    torch.testing.assert_close(*outputs)


def test_code_that_is_made_anew_each_time_is_refused():
    code = (lambda: 0.5).__code__
    subject = scaled(lambda self: types.FunctionType(code.replace(co_name="gate"), {})())
    assert "cannot be followed" in Recurrent(subject, backend="auto").why_eager(torch.float64)


@pytest.mark.parametrize("case", changes, ids=lambda case: case.__name__)
def test_a_change_is_noticed(case, monkeypatch):
    check_change(*case(monkeypatch))

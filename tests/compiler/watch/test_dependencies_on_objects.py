"""What a step reads of objects, classes, functions and containers.

A case returns what a step reads and what changes it, and also what undoes that where it lasts.
"""

import array
import collections
import datetime
import fractions
import math
import operator
import pathlib
import pickle
import struct
import types
import typing
import weakref
from functools import partial
from operator import setitem

import pytest

from compiler.changing import Cases, check_change, scaled
from compiler.twins import OF_PYTORCH, ignored

pytestmark = [
    ignored("running step by step:UserWarning"),
    *map(ignored, OF_PYTORCH),
]

changes = Cases()
RATE = 0.5


def first(held):
    return next(iter(held))


def by_its_name(get):
    return lambda: get("_".join(("rate", "low")))


# the attributes of an object

FOUND_BY = {
    "getattr": lambda gate, get=getattr: lambda: get(gate, "_".join(("rate", "low"))),
    "part of getattr": lambda gate: by_its_name(partial(getattr, gate)),
    "vars": lambda gate, get=vars: lambda: get(gate)["_".join(("rate", "low"))],
    "attrgetter": lambda gate, get=operator.attrgetter: (
        lambda: get("_".join(("rate", "low")))(gate)
    ),
    "the object itself": lambda gate: by_its_name(gate.__getattribute__),
}
"""Other names of what finds an attribute, whose name is made in the step."""


@pytest.mark.parametrize("reader_of", FOUND_BY.values(), ids=FOUND_BY)
def test_a_change_of_what_is_found_under_another_name_is_noticed(reader_of):
    gate = types.SimpleNamespace(rate_low=[0.5])
    read = reader_of(gate)
    check_change(lambda: read()[0], partial(setitem, gate.rate_low, 0, 0.7))


@changes
def whether_there_is_an_attribute():
    gate = types.SimpleNamespace()
    return lambda: 0.7 if hasattr(gate, "_".join(("rate", "low"))) else 0.5, partial(
        setattr, gate, "rate_low", [1]
    )


@changes
def an_attribute_that_is_formatted():
    gate = types.SimpleNamespace(rates=[0.5])
    return lambda: float("{0.rates[0]}".format(gate)), partial(setitem, gate.rates, 0, 0.7)  # noqa: UP030, UP032


@changes
def an_attribute_that_is_compared():
    gate, other = types.SimpleNamespace(rates=[0.5]), types.SimpleNamespace(rates=[0.5])
    return lambda: 0.5 if gate == other else 0.7, partial(setitem, gate.rates, 0, 0.7)


@changes
def an_attribute_that_is_pickled():
    gate = types.SimpleNamespace(rates=[0.5])
    return lambda: len(pickle.dumps(gate)) / 100, partial(gate.rates.append, "another")


@changes
def all_attributes_of_an_object():
    class Gate:
        pass

    gate = Gate()
    gate.rate = 0.5
    return lambda: gate.rate, partial(setattr, gate, "__dict__", {"rate": 0.7})


@changes
def all_attributes_of_a_cell():
    subject = scaled(lambda self: self.rate, rate=0.5)
    return subject, lambda: setattr(subject, "__dict__", {**vars(subject), "rate": 0.7})


@changes
def an_attribute_of_a_class_above():
    class Low:
        rate = 0.5

    class Gate(Low):
        pass

    above = super(Gate, Gate())
    return lambda: above.rate, partial(setattr, Low, "rate", 0.7)


@changes
def an_attribute_in_a_private_slot():
    class Gate:
        __slots__ = ("__rate",)

        def __init__(self):
            self.__rate = 0.5

        def read(self):
            return self.__rate

    gate = Gate()
    return lambda: gate.read(), partial(setattr, gate, "_Gate__rate", 0.7)


@changes
def whether_a_slot_is_filled():
    class Gate:
        __slots__ = ("rate",)

    gate = Gate()
    return lambda: 0.7 if hasattr(gate, "rate") else 0.5, partial(setattr, gate, "rate", [1])


@changes
def a_slot_that_its_class_no_longer_names():
    class Gate:
        __slots__ = ("rate",)

    Gate.__slots__ = ()
    gate = Gate()
    gate.rate = 0.5
    return lambda: gate.rate, partial(setattr, gate, "rate", 0.7)


# kinds of what is built in, and what built-in objects hold

KINDS = {
    "array": (array.array, "d", [1.0]),
    "part of a function": (partial, max, 1),
    "property": (property, len),
    "weak reference": (weakref.ref, first),
    "module": (types.ModuleType, "settings_of_a_test"),
}


@pytest.mark.parametrize(("base", "arguments"), [(k, g) for k, *g in KINDS.values()], ids=KINDS)
def test_a_change_of_the_class_of_a_kind_of_it_is_noticed(base, arguments):
    class Kind(base):
        rate = 0.5

    held = Kind(*arguments)
    check_change(lambda: held.rate, partial(setattr, Kind, "rate", 0.7))


VALUES = {
    "date": (datetime.date, (2020, 1, 5), (2020, 1, 7), lambda held: held.day / 10),
    "fraction": (fractions.Fraction, (1, 2), (7, 10), float),
    "path": (pathlib.PurePosixPath, ("0.5",), ("0.7",), lambda held: float(held.name)),
    "layout": (struct.Struct, ("i",), ("d",), lambda held: held.size / 10),
    "exception": (ValueError, (0.5,), (0.7,), lambda held: held.args[0]),
}


@pytest.mark.parametrize(("base", "one", "other", "read"), VALUES.values(), ids=VALUES)
def test_another_value_of_a_kind_of_it_is_noticed(base, one, other, read):
    class Kind(base):
        pass

    subject = scaled(lambda self: read(self.held), held=Kind(*one))
    check_change(subject, lambda: setattr(subject, "held", Kind(*other)))


@changes
def what_an_exception_holds():
    error = ValueError([0.5])
    return lambda: error.args[0][0], partial(setitem, error.args[0], 0, 0.7)


@changes
def the_cause_of_an_exception():
    error = ValueError()
    error.__cause__ = KeyError(0.5)
    return lambda: error.__cause__.args[0], partial(setattr, error, "__cause__", KeyError(0.7))


@changes
def what_a_caller_of_a_method_gives_it():
    rates = [0.5]
    call = operator.methodcaller("__add__", rates)
    return lambda: call([])[0], partial(setitem, rates, 0, 0.7)


@changes
def where_a_slice_begins():
    part = slice([0.5], None)
    return lambda: part.start[0], partial(setitem, part.start, 0, 0.7)


@changes
def what_is_told_that_an_object_is_gone():
    rates = [0.5]
    gone = weakref.ref(first, rates.append)
    return lambda: gone.__callback__.__self__[0], partial(setitem, rates, 0, 0.7)


@changes
def the_function_of_a_partial():
    part = partial(max, 0.5)
    return lambda: part(0.1), partial(part.__setstate__, (max, (0.7,), {}, {}))


@changes
def the_class_of_a_module():
    class Settings(types.ModuleType):
        rate = 0.7

    settings = types.ModuleType("settings_of_a_test")
    return lambda: getattr(settings, "rate", 0.5), partial(setattr, settings, "__class__", Settings)


# classes and functions


@changes
def the_class_in_a_type():
    class Gate:
        rate = 0.5

    kind = list[Gate]
    return lambda: kind.__args__[0].rate, partial(setattr, Gate, "rate", 0.7)


@changes
def a_method_that_is_one_of_a_list():
    rates = [0.5]

    class Gate:
        __str__ = rates.__repr__

    return lambda: float(str(Gate())[1:-1]), partial(setitem, rates, 0, 0.7)


@changes
def a_constructor_that_looks_up():
    made = {}

    class Gate:
        __new__ = staticmethod(made.get)

    made[Gate] = 0.5
    return lambda: Gate(), partial(setitem, made, Gate, 0.7)


@changes
def the_metaclass_of_a_class():
    class Low(type):
        rate = 0.5

    class High(type):
        rate = 0.7

    class Gate(metaclass=Low):
        pass

    return lambda: Gate.rate, partial(setattr, Gate, "__class__", High)


@changes
def the_types_that_a_class_names():
    class Gate:
        rate: "typing.Literal[RATE]"

    change, undo = (partial(setitem, globals(), "RATE", rate) for rate in (0.7, 0.5))
    return lambda: typing.get_type_hints(Gate)["rate"].__args__[0], change, undo


@changes
def how_many_classes_are_made_of_one():
    class Gate:
        pass

    subclasses, kinds = type.__dict__["__subcl" + "asses__"], []
    return lambda: len(subclasses(Gate)) / 10 + 0.1, lambda: kinds.append(type("Kind", (Gate,), {}))


@changes
def the_defaults_of_an_initialiser_that_is_not_run():
    class Gate:
        def __init__(self, rate=0.5):
            pass

    return lambda: Gate.__init__.__defaults__[0], partial(
        setattr, Gate.__init__, "__defaults__", (0.7,)
    )


@changes
def an_attribute_of_a_static_method():
    class Gate:
        @staticmethod
        def held():
            pass

    held = vars(Gate)["held"]
    held.rate = 0.5
    return lambda: vars(Gate)["held"].rate, partial(setattr, held, "rate", 0.7)


@changes
def the_docstring_of_a_property():
    class Gate:
        @property
        def rate(self):
            """0.5"""

    return lambda: float(Gate.rate.__doc__), partial(setattr, Gate.rate, "__doc__", "0.7")


@changes
def an_annotation_of_a_function():
    def held(x: 0.5):
        pass

    return lambda: held.__annotations__["x"], partial(setitem, held.__annotations__, "x", 0.7)


@changes
def the_module_of_a_function():
    def held():
        pass

    held.__module__ = "0.5"
    return lambda: float(held.__module__), partial(setattr, held, "__module__", "0.7")


# containers

IN_PLACE = {
    "the attribute of a counter": (
        lambda held: getattr(held, "rate", 0.5),
        collections.Counter,
        lambda held: setattr(held, "rate", 0.7),
    ),
    "the order of a set": (
        lambda held: 0.5 + first(held) / 10,
        lambda: {0, 8},
        lambda held: (held.clear(), held.update((8, 0))),
    ),
    "the type of an entry": (
        lambda held: 0.7 if isinstance(first(held), bool) else 0.5,
        lambda: {1},
        lambda held: (held.clear(), held.add(True)),
    ),
    "the sign of a key": (
        lambda held: math.copysign(0.5, first(held)),
        lambda: {0.0: None},
        lambda held: (held.clear(), held.setdefault(-0.0)),
    ),
}


@pytest.mark.parametrize(("read", "make", "change"), IN_PLACE.values(), ids=IN_PLACE)
def test_a_change_in_place_is_noticed(read, make, change):
    held = make()
    check_change(lambda: read(held), lambda: change(held))


REPLACED = {
    "the type of an array": (
        lambda held: float(held[0]) / 1e9 if held.typecode == "i" else 0.5,
        array.array("f", [1.0]),
        array.array("i", array.array("f", [1.0]).tobytes()),
    ),
    "the type of a memory": (
        lambda held: held.itemsize / 10,
        memoryview(bytes(8)).cast("d"),
        memoryview(bytes(8)),
    ),
    "the longest that a queue is": (
        lambda held: held.maxlen / 10,
        collections.deque([1], 5),
        collections.deque([1], 7),
    ),
    "where a range ends": (lambda held: held.stop / 10, range(0, 3, 2), range(0, 4, 2)),
    "whether a set is frozen": (
        lambda held: 0.7 if isinstance(held, frozenset) else 0.5,
        {1},
        frozenset({1}),
    ),
}


@pytest.mark.parametrize(("read", "one", "other"), REPLACED.values(), ids=REPLACED)
def test_another_that_looks_the_same_is_noticed(read, one, other):
    subject = scaled(lambda self: read(self.held), held=one)
    check_change(subject, lambda: setattr(subject, "held", other))


@pytest.mark.parametrize("case", changes, ids=lambda case: case.__name__)
def test_a_change_is_noticed(case):
    check_change(*case())

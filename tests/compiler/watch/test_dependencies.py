"""What a step reads in roundabout ways: every change of it is noticed, or the step is not compiled.

The cases are generators, as in ``test_changes``.
"""

import abc
import builtins
import collections
import contextlib
import copy
import dataclasses
import decimal
import enum
import functools
import importlib
import operator
import random
import statistics
import string
import sys
import tempfile
import types
import typing
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from compiler.changing import Cases, check, scaled
from compiler.twins import OF_PYTORCH, ignored

pytestmark = [
    ignored("running step by step:UserWarning"),
    *map(ignored, OF_PYTORCH),
]

changes = Cases()
RATE = 0.5
TABLE = {"rate": 0.5}
RATES = [0.5, 0.25]
ALIVE = []
patch = pytest.MonkeyPatch()


@pytest.fixture(autouse=True)
def as_it_was():
    yield
    global RATE
    RATE, TABLE["rate"], RATES[:] = 0.5, 0.5, [0.5, 0.25]
    patch.undo()


def change_of_the_global():
    """What is done between two calls in most cases."""
    global RATE
    RATE = 0.7


def global_changed(make):
    """The case of a cell whose factor is ``read()``, of what ``make`` returns, and the global."""

    @functools.wraps(make)
    def case():
        read = make()
        yield scaled(lambda self: read(self))
        change_of_the_global()

    changes.append(case)
    return make


# objects that a step makes


@global_changed
def an_initialiser():
    class Gate:
        def __init__(self):
            self.rate = RATE

    return lambda self: Gate().rate


@global_changed
def a_constructor():
    class Gate:
        def __new__(cls):
            made = super().__new__(cls)
            made.rate = RATE
            return made

    return lambda self: Gate().rate


@global_changed
def a_representation():
    class Gate:
        def __repr__(self):
            return str(RATE)

    return lambda self: float(repr(Gate()))


@global_changed
def a_string():
    class Gate:
        def __str__(self):
            return str(RATE)

    return lambda self: float(f"{Gate()}")


@global_changed
def a_subclass_hook():
    class Base:
        def __init_subclass__(cls):
            cls.rate = RATE

    def read(self):
        class Gate(Base):
            pass

        return Gate.rate

    return read


@global_changed
def a_name_hook():
    class Field:
        def __set_name__(self, owner, name):
            owner.rate = RATE

    def read(self):
        class Gate:
            field = Field()

        return Gate.rate

    return read


@global_changed
def a_default_factory():
    @dataclasses.dataclass
    class Gate:
        rate: float = dataclasses.field(default_factory=lambda: RATE)

    return lambda self: Gate().rate


@global_changed
def after_an_initialiser():
    @dataclasses.dataclass
    class Gate:
        rate: float = 0.1

        def __post_init__(self):
            self.rate = RATE

    return lambda self: Gate().rate


@global_changed
def a_destructor():
    class Gate:
        def __del__(self):
            rates_on_deletion.append(RATE)

    rates_on_deletion = [1.0]

    def read(self):
        rates_on_deletion.clear()
        Gate()
        return rates_on_deletion[-1]

    return read


@global_changed
def a_copy_hook():
    class Gate:
        def __copy__(self):
            made = Gate()
            made.rate = RATE
            return made

    gate = Gate()
    return lambda self: copy.copy(gate).rate


@global_changed
def a_reduction():
    def rebuilt():
        made = Gate()
        made.rate = RATE
        return made

    class Gate:
        def __reduce__(self):
            return rebuilt, ()

    gate = Gate()
    return lambda self: copy.copy(gate).rate


@global_changed
def a_state_hook():
    class Gate:
        def __getstate__(self):
            return {"rate": RATE}

    gate = Gate()
    return lambda self: copy.copy(gate).rate


@changes
def a_replaced_initialiser():
    class Gate:
        def __init__(self):
            self.rate = 0.5

    def other(self):
        self.rate = 0.7

    yield scaled(lambda self: Gate().rate)
    Gate.__init__ = other


@changes
def the_code_of_an_initialiser():
    class Gate:
        def __init__(self):
            self.rate = 0.5

    def other(self):
        self.rate = 0.7

    yield scaled(lambda self: Gate().rate)
    Gate.__init__.__code__ = other.__code__


@changes
def a_default_of_an_initialiser():
    class Gate:
        def __init__(self, rate=0.5):
            self.rate = rate

    yield scaled(lambda self: Gate().rate)
    Gate.__init__.__defaults__ = (0.7,)


@changes
def a_default_of_a_dataclass():
    def made(rate):
        return dataclasses.make_dataclass("Gate", [("rate", float, rate)])

    gate = made(0.5)
    yield scaled(lambda self: gate().rate)
    gate = made(0.7)


@changes
def a_default_of_a_named_tuple():
    gate = collections.namedtuple("Gate", "rate", defaults=[0.5])
    yield scaled(lambda self: gate().rate)
    gate.__new__.__defaults__ = (0.7,)


@changes
def a_docstring():
    class Gate:
        """0.5"""

    yield scaled(lambda self: float(Gate.__doc__))
    Gate.__doc__ = "0.7"


@changes
def a_name():
    class Gate:
        pass

    Gate.__qualname__ = "0.5"
    yield scaled(lambda self: float(Gate.__qualname__))
    Gate.__qualname__ = "0.7"


@changes
def the_name_of_a_class():
    class Gate:
        pass

    Gate.__name__ = "0.5"
    yield scaled(lambda self: float(Gate.__name__))
    Gate.__name__ = "0.7"


@changes
def the_module_of_a_class():
    class Gate:
        pass

    Gate.__module__ = "0.5"
    yield scaled(lambda self: float(Gate.__module__))
    Gate.__module__ = "0.7"


@changes
def an_annotation():
    class Gate:
        rate: 0.5

    yield scaled(lambda self: Gate.__annotations__["rate"])
    Gate.__annotations__["rate"] = 0.7


class Low:
    rate = 0.5


class High:
    rate = 0.7


@changes
def the_bases_of_a_class():
    class Gate(Low):
        pass

    yield scaled(lambda self: Gate.rate)
    Gate.__bases__ = (High,)


@changes
def the_class_of_an_object():
    gate = Low()
    yield scaled(lambda self: gate.rate)
    gate.__class__ = High


# metaclasses


@global_changed
def a_call_of_a_metaclass():
    class Meta(type):
        def __call__(cls):
            return RATE

    class Gate(metaclass=Meta):
        pass

    return lambda self: Gate()


@global_changed
def an_attribute_found_by_a_metaclass():
    class Meta(type):
        def __getattr__(cls, name):
            return RATE

    class Gate(metaclass=Meta):
        pass

    return lambda self: Gate.rate


@changes
def an_attribute_of_a_metaclass():
    class Meta(type):
        rate = 0.5

    class Gate(metaclass=Meta):
        pass

    yield scaled(lambda self: Gate.rate)
    Meta.rate = 0.7


@global_changed
def a_property_of_a_metaclass():
    class Meta(type):
        @property
        def rate(cls):
            return RATE

    class Gate(metaclass=Meta):
        pass

    return lambda self: Gate.rate


@global_changed
def an_instance_check():
    class Meta(type):
        def __instancecheck__(cls, value):
            return RATE > 0.6

    class Gate(metaclass=Meta):
        pass

    return lambda self: 0.7 if isinstance(3, Gate) else 0.5


@changes
def a_virtual_subclass():
    class Gate(abc.ABC):  # noqa: B024
        pass

    class Other:
        pass

    yield scaled(lambda self: 0.7 if isinstance(Other(), Gate) else 0.5)
    Gate.register(Other)


@global_changed
def a_preparation_of_a_class():
    class Meta(type):
        @classmethod
        def __prepare__(cls, name, bases):
            return {"rate": RATE}

    def read(self):
        class Gate(metaclass=Meta):
            pass

        return Gate.rate

    return read


@global_changed
def bases_that_are_made():
    class Made:
        def __mro_entries__(self, bases):
            return (type("Base", (), {"rate": RATE}),)

    made = Made()

    def read(self):
        class Gate(made):
            pass

        return Gate.rate

    return read


@global_changed
def an_index_of_a_class():
    class Gate:
        def __class_getitem__(cls, index):
            return RATE

    return lambda self: Gate[0]


# descriptors, properties, attributes


@global_changed
def a_descriptor():
    class Rate:
        def __get__(self, owner, kind=None):
            return RATE

    class Gate:
        rate = Rate()

    gate = Gate()
    return lambda self: gate.rate


@changes
def what_a_descriptor_holds():
    class Rate:
        def __init__(self):
            self.held = [0.5]

        def __get__(self, owner, kind=None):
            return sum(self.held)

    class Gate:
        rate = Rate()

    gate = Gate()
    yield scaled(lambda self: gate.rate)
    vars(Gate)["rate"].held[0] = 0.7


@global_changed
def a_cached_property():
    class Gate:
        @functools.cached_property
        def rate(self):
            return RATE

    return lambda self: Gate().rate


@global_changed
def a_setter():
    class Gate:
        def __setattr__(self, name, value):
            object.__setattr__(self, name, RATE)

    def read(self):
        gate = Gate()
        gate.rate = 3.0
        return gate.rate

    return read


@changes
def an_attribute_named_by_data():
    class Options:
        def __init__(self):
            self.low, self.high = [0.5], [0.7]

    options, names = Options(), ["low"]
    yield scaled(lambda self: sum(getattr(options, name)[0] for name in names))
    options.low[0] = 0.6


@changes
def an_attribute_with_a_composed_name():
    class Options:
        def __init__(self):
            self.rate_low = [0.5]

    options = Options()
    yield scaled(lambda self: getattr(options, "_".join(("rate", "low")))[0])
    options.rate_low[0] = 0.6


@changes
def an_attribute_by_a_getter():
    options = types.SimpleNamespace(deep=types.SimpleNamespace(rates=[0.5]))
    get = operator.attrgetter("deep.rates")
    yield scaled(lambda self: get(options)[0])
    options.deep.rates[0] = 0.6


@changes
def an_attribute_by_a_getter_made_in_step():
    options = types.SimpleNamespace(deep=types.SimpleNamespace(rates=[0.5]))
    yield scaled(lambda self: operator.attrgetter(".".join(("deep", "rates")))(options)[0])
    options.deep.rates[0] = 0.6


@changes
def an_attribute_by_a_method_of_object():
    options = types.SimpleNamespace(rates=[0.5])
    yield scaled(lambda self: object.__getattribute__(options, "".join(("ra", "tes")))[0])
    options.rates[0] = 0.6


@changes
def a_method_called_by_name():
    class Gate:
        def __init__(self):
            self.rates = [0.5]

        def rate(self):
            return self.rates[0]

    gate, call = Gate(), operator.methodcaller("rate")
    yield scaled(lambda self: call(gate))
    gate.rates[0] = 0.6


@changes
def all_fields_of_a_dataclass():
    @dataclasses.dataclass
    class Options:
        rates: list

    options = Options([0.5])
    yield scaled(lambda self: sum(*dataclasses.astuple(options)))
    options.rates[0] = 0.6


@changes
def a_replaced_dataclass():
    @dataclasses.dataclass
    class Options:
        rates: list
        other: int = 0

    options = Options([0.5])
    yield scaled(lambda self: next(iter(vars(dataclasses.replace(options, other=1)).values()))[0])
    options.rates[0] = 0.6


@changes
def a_deep_copy():
    options = types.SimpleNamespace(rates=[0.5])
    yield scaled(lambda self: sum(*copy.deepcopy(options).__dict__.values()))
    options.rates[0] = 0.6


@changes
def a_slot():
    class Gate:
        __slots__ = ("rates",)

    gate = Gate()
    gate.rates = [0.5]
    yield scaled(lambda self: gate.rates[0])
    gate.rates[0] = 0.7
    yield
    gate.rates = [0.3]


# match


@changes
def a_matched_attribute():
    options = types.SimpleNamespace(rates=[0.5])

    def read(self):
        match options:
            case types.SimpleNamespace(rates=[rate]):
                return rate

    yield scaled(read)
    options.rates[0] = 0.7


@changes
def a_matched_place():
    @dataclasses.dataclass
    class Options:
        rates: list

    options = Options([0.5])

    def read(self):
        match options:
            case Options([rate]):
                return rate

    yield scaled(read)
    options.rates[0] = 0.7


@changes
def a_matched_mapping():
    options = {"rate": [0.5]}

    def read(self):
        match options:
            case {"rate": [rate]}:
                return rate

    yield scaled(read)
    options["rate"][0] = 0.7


@changes
def names_that_are_matched():
    class Options:
        __match_args__ = ("low",)

        def __init__(self):
            self.low, self.high = 0.5, 0.7

    options = Options()

    def read(self):
        match options:
            case Options(rate):
                return rate

    yield scaled(read)
    Options.__match_args__ = ("high",)


# functools, operator and C functions


@global_changed
def a_partial_method():
    class Gate:
        def _rate(self, factor):
            return factor * RATE

        rate = functools.partialmethod(_rate, 1.0)

    gate = Gate()
    return lambda self: gate.rate()


@global_changed
def a_single_dispatch():
    @functools.singledispatch
    def rate(value):
        return 0.1

    @rate.register
    def _(value: int):
        return RATE

    return lambda self: rate(3)


@changes
def a_single_dispatch_that_learns():
    @functools.singledispatch
    def rate(value):
        return 0.5

    yield scaled(lambda self: rate(3))
    rate.register(int, lambda value: 0.7)


@global_changed
def a_comparison_by_key():
    key = functools.cmp_to_key(lambda a, b: (a > b) - (a < b) if RATE < 0.6 else (a < b) - (a > b))
    return lambda self: sorted([0.3, 0.9], key=key)[0]


@global_changed
def a_total_order():
    @functools.total_ordering
    class Rank:
        def __init__(self, value):
            self.value = value

        def __eq__(self, other):
            return self.value == other.value

        def __lt__(self, other):
            return (self.value < other.value) == (RATE < 0.6)

    return lambda self: 0.5 if Rank(1) >= Rank(0) else 0.7


@global_changed
def a_reduction_of_a_list():
    return lambda self: functools.reduce(lambda a, b: a + b * RATE, [0.0, 1.0])


@global_changed
def a_wrapped_function():
    def doubled(function):
        @functools.wraps(function)
        def call():
            return 2 * function()

        return call

    @doubled
    def rate():
        return RATE / 2

    return lambda self: rate()


@changes
def a_cached_function_inside_another():
    table = [0.5]

    @functools.lru_cache
    def cached():
        return table[0]

    yield scaled(lambda self: sum(f() for f in [cached]))
    table[0] = 0.7
    cached.cache_clear()


@global_changed
def a_hash():
    class Key:
        def __hash__(self):
            return int(RATE > 0.6)

        def __eq__(self, other):
            return hash(self) == hash(other)

    return lambda self: 0.5 if len({Key(): 1, 0: 2}) == 1 else 0.7


@global_changed
def a_missing_key():
    class Table(dict):
        def __missing__(self, key):
            return RATE

    return lambda self: Table()["rate"]


@global_changed
def a_default_dict():
    return lambda self: collections.defaultdict(lambda: RATE)["rate"]


@changes
def the_factory_of_a_default_dict():
    table = collections.defaultdict(lambda: 0.5)
    yield scaled(lambda self: table.default_factory())
    table.default_factory = lambda: 0.7


@changes
def a_weak_dict():
    class Gate:
        rate = 0.5

    gate = Gate()
    table = weakref.WeakValueDictionary(gate=gate)
    yield scaled(lambda self: table["gate"].rate)
    gate.rate = 0.7
    yield
    other = Gate()
    other.rate = 0.3
    table["gate"] = other
    ALIVE.append(other)


@changes
def a_weak_proxy():
    class Gate:
        def __init__(self):
            self.rate = 0.5

    gate = Gate()
    proxy = weakref.proxy(gate)
    yield scaled(lambda self: proxy.rate)
    gate.rate = 0.7
    ALIVE.append(gate)


@changes
def the_context_of_decimals():
    before = decimal.getcontext().prec
    yield scaled(lambda self: float(decimal.Decimal(1) / decimal.Decimal(3)))
    decimal.getcontext().prec = 2
    try:
        yield
    finally:
        decimal.getcontext().prec = before


@changes
def a_random_generator_of_numpy():
    generator = np.random.default_rng(0)
    yield scaled(lambda self: float(generator.bit_generator.state["state"]["inc"] % 7) / 7)
    generator = np.random.default_rng(2)


@changes
def the_state_of_a_generator_of_numpy():
    generator = np.random.default_rng(0)
    yield scaled(lambda self: float(generator.bit_generator.state["state"]["state"] % 7 + 1) / 7)
    generator.random()


@changes
def a_random_generator():
    generator = random.Random(0)
    state = lambda: (generator.getstate()[1][1] % 97 + 1) / 97  # noqa: E731
    yield scaled(lambda self: state())
    generator.seed(7)


@changes
def a_memory_of_bytes():
    held = bytearray(b"\x05")
    view = memoryview(held)
    yield scaled(lambda self: view[0] / 10)
    held[0] = 7


@changes
def an_array_of_objects():
    held = np.array([[0.5]], dtype=object)
    yield scaled(lambda self: held[0, 0])
    held[0, 0] = 0.7


@changes
def a_record_array():
    held = np.zeros(1, dtype=[("rate", "f8")])
    held["rate"] = 0.5
    yield scaled(lambda self: float(held["rate"][0]))
    held["rate"] = 0.7


@global_changed
def a_vectorised_function():
    function = np.vectorize(lambda value: value * RATE)
    return lambda self: float(function(1.0))


@global_changed
def a_function_applied_along_an_axis():
    return lambda self: float(np.apply_along_axis(lambda row: row.sum() * RATE, 0, np.ones(1)))


@global_changed
def a_universal_function():
    function = np.frompyfunc(lambda value: value * RATE, 1, 1)
    return lambda self: float(function(1.0))


@global_changed
def an_array_interface():
    class Held:
        def __array__(self, dtype=None, copy=None):
            return np.array([RATE])

    held = Held()
    return lambda self: float(np.asarray(held)[0])


# closures, modules, generators, context managers


@global_changed
def a_generator():
    def rates():
        yield RATE

    return lambda self: sum(rates())


@global_changed
def a_generator_expression():
    return lambda self: sum(RATE for _ in range(1))


@global_changed
def an_iterator_of_its_own():
    class Once:
        def __iter__(self):
            return iter([RATE])

    return lambda self: sum(Once())


@global_changed
def an_old_sequence():
    class Once:
        def __getitem__(self, index):
            if index:
                raise IndexError
            return RATE

        def __len__(self):
            return 1

    once = Once()
    return lambda self: sum(once)


@global_changed
def a_context_manager():
    class Entered:
        def __enter__(self):
            return RATE

        def __exit__(self, *error):
            pass

    def read(self):
        with Entered() as rate:
            return rate

    return read


@global_changed
def a_context_manager_of_a_generator():
    @contextlib.contextmanager
    def entered():
        yield RATE

    def read(self):
        with entered() as rate:
            return rate

    return read


@global_changed
def the_exit_of_a_context_manager():
    class Entered:
        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.rate = RATE
            return True

    def read(self):
        with Entered() as entered:
            raise ValueError
        return entered.rate

    return read


@global_changed
def a_coroutine():
    async def rate():
        return RATE

    def read(self):
        try:
            rate().send(None)
        except StopIteration as end:
            return end.value

    return read


@global_changed
def an_exception():
    class FoundError(Exception):
        def __init__(self):
            self.rate = RATE

    def read(self):
        try:
            raise FoundError
        except FoundError as found:
            return found.rate

    return read


@global_changed
def what_an_exception_depends_on():
    def read(self):
        try:
            return [0.5][int(RATE > 0.6)]
        except IndexError:
            return 0.7

    return read


@changes
def a_function_of_a_module_for_what_is_absent():
    settings = types.ModuleType("settings_of_a_test")
    settings.__getattr__ = lambda name: RATE
    yield scaled(lambda self: settings.rate)
    change_of_the_global()


@changes
def a_module_by_a_composed_name():
    settings = types.ModuleType("settings_of_a_test")
    settings.rate_low = 0.5
    yield scaled(lambda self: getattr(settings, "_".join(("rate", "low"))))
    settings.rate_low = 0.7


@changes
def the_table_of_a_module():
    settings = types.ModuleType("settings_of_a_test")
    settings.rate_low = 0.5
    yield scaled(lambda self: vars(settings)["_".join(("rate", "low"))])
    settings.rate_low = 0.7


@changes
def a_module_among_those_that_are_loaded():
    settings = types.ModuleType("settings_of_a_test")
    settings.rate = 0.5
    patch.setitem(sys.modules, settings.__name__, settings)
    yield scaled(lambda self: sys.modules["settings_" + "of_a_test"].rate)
    settings.rate = 0.7


@changes
def an_argument_of_the_program():
    yield scaled(lambda self: float(len(sys.argv)) / 10 + 0.1)
    patch.setattr(sys, "argv", [*sys.argv, "more"])


@changes
def an_argument_of_the_program_in_place():
    yield scaled(lambda self: float(len(sys.argv)) / 10 + 0.1)
    sys.argv.append("more")
    yield
    sys.argv.pop()


@changes
def a_variable_of_a_library():
    yield scaled(lambda self: len(string.whitespace) / 10)
    patch.setattr(string, "whitespace", string.whitespace + ".")


@changes
def a_function_of_a_library():
    yield scaled(lambda self: statistics.mean([0.5, 0.7]))
    patch.setattr(statistics, "mean", max)


@changes
def a_built_in_function_of_the_module():
    yield scaled(lambda self: abs(-0.5))
    patch.setitem(globals(), "abs", lambda value: 0.7)


@changes
def a_built_in_function():
    before = builtins.abs
    yield scaled(lambda self: abs(-0.5))
    patch.setattr(builtins, "abs", lambda value: 0.7 if value == -0.5 else before(value))
    yield
    builtins.abs = before


@changes
def a_module_that_is_reloaded():
    name = "reloaded_in_a_test"
    with tempfile.TemporaryDirectory() as folder:
        patch.syspath_prepend(folder)
        patch.delitem(sys.modules, name, raising=False)
        path = Path(folder) / f"{name}.py"
        path.write_text("class Gate:\n    def __init__(self):\n        self.rate = 0.5\n")
        module = importlib.import_module(name)
        yield scaled(lambda self: module.Gate().rate)
        path.write_text(path.read_text().replace("0.5", "0.75"))
        importlib.reload(module)


@changes
def an_import_inside():
    settings = types.ModuleType("settings_of_a_test")
    settings.rate = 0.5
    patch.setitem(sys.modules, settings.__name__, settings)

    def read(self):
        from settings_of_a_test import rate

        return rate

    yield scaled(read)
    settings.rate = 0.7


@changes
def a_variable_of_a_frame():
    rate = 0.5
    yield scaled(lambda self: sys._getframe(0).f_globals["RATE"])
    change_of_the_global()
    assert rate


@global_changed
def a_table_of_a_function():
    def held():
        return 0

    return lambda self: held.__globals__["RA" + "TE"]


@global_changed
def globals_of_another_name():
    return lambda self: getattr(builtins, "glo" + "bals")()["RATE"]


# enumerations, named tuples, operators


@global_changed
def a_missing_member():
    class Kind(enum.Enum):
        LOW = 0.5
        HIGH = 0.7

        @classmethod
        def _missing_(cls, value):
            return cls.HIGH if RATE > 0.6 else cls.LOW

    return lambda self: Kind("other").value


@changes
def the_value_of_a_member():
    class Kind(enum.Enum):
        LOW = 0.5

    yield scaled(lambda self: Kind.LOW.value)
    Kind.LOW._value_ = 0.7


def kind_of_gate():
    class Kind(enum.Enum):
        LOW = 1

        def __init__(self, value):
            self.rates = [0.5]

        def rate(self):
            return RATE

    return Kind


@changes
def an_attribute_of_a_member():
    kind = kind_of_gate()
    yield scaled(lambda self: kind.LOW.rates[0])
    kind.LOW.rates[0] = 0.7


@changes
def an_attribute_of_a_member_that_is_held():
    kind = kind_of_gate()
    yield scaled(lambda self: self.kind.rates[0], kind=kind.LOW)
    kind.LOW.rates[0] = 0.7


@changes
def what_a_member_is_a_list_of():
    class Kind(enum.Enum):
        LOW = [0.5]  # noqa: RUF012

    yield scaled(lambda self: self.kind.value[0], kind=Kind.LOW)
    Kind.LOW.value[0] = 0.7


@global_changed
def a_method_of_a_member():
    kind = kind_of_gate()
    return lambda self: kind.LOW.rate()


@global_changed
def a_method_of_a_member_that_is_held():
    kinds = [kind_of_gate().LOW]
    return lambda self: kinds[0].rate()


@global_changed
def a_method_of_a_named_tuple():
    class Gate(typing.NamedTuple):
        value: float

        def rate(self):
            return self.value * RATE

    gate = Gate(1.0)
    return lambda self: gate.rate()


@global_changed
def a_method_of_a_kind_of_number():
    class Share(float):
        def __mul__(self, other):
            return other * RATE

        def rate(self):
            return RATE

    share = Share(1.0)
    return lambda self: share.rate()


@global_changed
def a_method_of_a_kind_of_string():
    class Word(str):
        def __float__(self):
            return RATE

    word = Word("1.0")
    return lambda self: float(word)


@changes
def an_attribute_of_a_kind_of_number():
    class Share(float):
        pass

    share = Share(1.0)
    share.rates = [0.5]
    yield scaled(lambda self: share.rates[0])
    share.rates[0] = 0.7


# views and special methods

VIEWS = {
    "a bound method of a dict": ({"rate": 0.5}, lambda table: table.get, lambda get: get("rate")),
    "a bound special method of a list": (
        [0.5],
        lambda rates: rates.__getitem__,
        lambda get: get(0),
    ),
    "a bound method in a partial": (
        [0.5, 0.1],
        lambda rates: functools.partial(rates.__getitem__, 0),
        lambda get: get(),
    ),
    "a chain of dicts": (
        {"rate": 0.5},
        lambda table: collections.ChainMap({}, table),
        lambda chain: chain["rate"],
    ),
    "a user dict": (
        collections.UserDict(rate=0.5),
        lambda table: table,
        lambda table: table["rate"],
    ),
    "a user list": (collections.UserList([0.5]), lambda rates: rates, lambda rates: rates[0]),
    "a view of a dict": ({"rate": 0.5}, lambda table: table.values(), lambda values: sum(values)),
    "a read only view of a dict": (
        {"rate": 0.5},
        types.MappingProxyType,
        lambda view: view["rate"],
    ),
    "a view of an array": (
        np.array([0.5, 0.1]),
        lambda rates: rates[:1],
        lambda view: float(view[0]),
    ),
}
"""What holds the rate, what is made of that, and how a step reads it there."""


def of_a_view(name):
    def case():
        held, view_of, read = VIEWS[name]
        held = copy.deepcopy(held)
        view = view_of(held)
        yield scaled(lambda self: read(view))
        held["rate" if hasattr(held, "keys") else 0] = 0.7

    case.__name__ = name
    return case


changes += map(of_a_view, VIEWS)


METHODS = {
    "an attribute that is absent": ("__getattr__", lambda self, name: RATE, lambda term: term.rate),
    "every attribute": ("__getattribute__", lambda self, name: RATE, lambda term: term.rate),
    "an index": ("__index__", lambda self: int(RATE > 0.6), lambda term: [0.5, 0.7][term]),
    "a float": ("__float__", lambda self: RATE, lambda term: float(term)),
    "a format": ("__format__", lambda self, how: str(RATE), lambda term: float(f"{term:x}")),
    "an operator": ("__mul__", lambda self, other: other * RATE, lambda term: term * 1.0),
    "a reflected operator": ("__rmul__", lambda self, other: other * RATE, lambda term: 1.0 * term),
    "an operator on tensors": (
        "__rmul__",
        lambda self, other: other * RATE,
        lambda term: torch.ones(()) * term,
    ),
    "a comparison": (
        "__lt__",
        lambda self, other: RATE > 0.6,
        lambda term: 0.7 if term < 3 else 0.5,
    ),
    "a truth": ("__bool__", lambda self: RATE > 0.6, lambda term: 0.7 if term else 0.5),
    "a length": ("__len__", lambda self: int(RATE > 0.6), lambda term: 0.7 if term else 0.5),
    "a membership": (
        "__contains__",
        lambda self, value: RATE > 0.6,
        lambda term: 0.7 if 3 in term else 0.5,
    ),
    "a call": ("__call__", lambda self: RATE, lambda term: term()),
    "a sum of objects": ("__radd__", lambda self, other: other + RATE, lambda term: sum([term])),
}
"""The name of a method, what it does, and what calls it."""


def of_a_method(name):
    def case():
        method, function, use = METHODS[name]
        term = type("Term", (), {method: function})()
        return lambda self: use(term)

    case.__name__ = name
    return case


for name in METHODS:
    global_changed(of_a_method(name))


# tensors and gradients


@global_changed
def a_function_with_its_own_gradient():
    class Halved(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 0.5

        @staticmethod
        def backward(ctx, d):
            return d * RATE

    return lambda self: Halved.apply(self.W.bias).sum()


@global_changed
def a_hook_on_a_tensor():
    def read(self):
        made = self.W.bias * 0.5
        if made.requires_grad:
            made.register_hook(lambda d: d * RATE)
        return made.sum()

    return read


@global_changed
def a_helper_of_a_gradient():
    def scaled_gradient(d):
        return d * RATE

    class Halved(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 0.5

        @staticmethod
        def backward(ctx, d):
            return scaled_gradient(d)

    return lambda self: Halved.apply(self.W.bias).sum()


def turned(tensor):
    """The same numbers, the other way round in memory."""
    return tensor.t().contiguous().t()


@changes
def a_weight_that_is_not_contiguous():
    subject = scaled(lambda self: 0.5 if self.W.weight.is_contiguous() else 0.7)
    subject.W.weight.data = turned(subject.W.weight.data)
    yield subject
    subject.W.weight.data = subject.W.weight.data.contiguous()


@changes
def where_a_weight_begins():
    subject = scaled(lambda self: 0.1 * self.W.weight.storage_offset() + 0.1)
    yield subject
    held = torch.randn(13, dtype=torch.float64)
    held[1:] = subject.W.weight.data.flatten()
    subject.W.weight.data = held[1:].view(4, 3)


@changes
def the_version_of_a_weight():
    subject = scaled(lambda self: 0.1 * self.W.weight._version + 0.1)
    yield subject
    with torch.no_grad():
        subject.W.weight.mul_(1.0)


@changes
def the_memory_of_a_weight():
    subject = scaled(lambda self: 0.1 * (self.W.weight.untyped_storage().nbytes() // 96))
    yield subject
    held = torch.zeros(24, dtype=torch.float64)
    held[:12] = subject.W.weight.data.flatten()
    subject.W.weight.data = held[:12].view(4, 3)


changes.table(
    {
        "whether a weight is contiguous": [
            lambda: scaled(lambda self: 0.5 if self.W.weight.is_contiguous() else 0.7),
            lambda c: setattr(c.W.weight, "data", turned(c.W.weight.data)),
        ],
        "the strides of a weight": [
            lambda: scaled(lambda self: 0.1 * self.W.weight.stride()[0]),
            lambda c: setattr(c.W.weight, "data", turned(c.W.weight.data)),
        ],
        "a stride of a weight": [
            lambda: scaled(lambda self: 0.1 * self.W.weight.stride(0)),
            lambda c: setattr(c.W.weight, "data", turned(c.W.weight.data)),
        ],
        "whether a weight is shared": [
            lambda: scaled(lambda self: 0.7 if self.W.weight.is_shared() else 0.5),
            lambda c: c.W.weight.share_memory_(),
        ],
        "the address of a weight": [
            lambda: scaled(lambda self: 0.5 + (self.W.weight.data_ptr() // 64 % 1009) / 1009),
            lambda c: setattr(
                c.W.weight, "data", torch.cat([c.W.weight.data, torch.zeros(999, 3).double()])[:4]
            ),
        ],
    }
)


@changes
def a_view_of_a_weight():
    subject = scaled(lambda self: 0.5 if self.part.is_contiguous() else 0.7)
    subject.part = torch.ones(4, 4)[:, :4]
    yield subject
    subject.part = torch.ones(4, 8)[:, :4]


@pytest.mark.parametrize("case", changes, ids=lambda case: case.__name__)
def test_a_change_is_noticed(case):
    check(case)

"""What a step reads of arrays, tensors and modules, of what is installed, and of the process.

A case returns what a step reads and what changes it, and also what undoes that where it lasts;
what it sets by ``patch`` is undone by itself.
"""

import abc
import collections.abc
import contextvars
import copy
import copyreg
import decimal
import functools
import importlib
import linecache
import locale
import logging
import math
import shutil
import signal
import socket
import string
import sys
import textwrap
import threading
import types
from functools import partial
from operator import setitem
from os import getenv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from compiler.changing import Cases, check_change, scaled
from compiler.twins import OF_PYTORCH, ignored

pytestmark = [
    ignored("running step by step:UserWarning"),
    *map(ignored, OF_PYTORCH),
]

changes = Cases()
FIELDS = [("a", "f8"), ("b", "f8")]


# arrays and tensors

IN_PLACE = {
    "the shape of an array": (
        lambda held: held.shape[0] / 10,
        lambda: np.ones((2, 3)),
        lambda held: setattr(held, "shape", (3, 2)),
    ),
    "the names of fields": (
        lambda held: float(held["a"][0]),
        lambda: np.array([(0.5, 0.7)], dtype=FIELDS),
        lambda held: setattr(held.dtype, "names", ("b", "a")),
    ),
    "what is noted of a type": (
        lambda held: held.metadata["rate"][0],
        lambda: np.dtype("f8", metadata={"rate": [0.5]}),
        lambda held: setitem(held.metadata["rate"], 0, 0.7),
    ),
    "whether an array is written": (
        lambda held: 0.5 if held.flags.writeable else 0.7,
        lambda: np.ones(2),
        lambda held: held.setflags(write=False),
    ),
    "the numbers of a tensor": (
        lambda held: held[0].numel() / 10,
        lambda: [torch.ones(2)],
        lambda held: setattr(held[0], "data", torch.ones(5)),
    ),
    "the type of a tensor": (
        lambda held: held[0].element_size() / 10,
        lambda: [torch.ones(2).double()],
        lambda held: setattr(held[0], "data", torch.ones(2)),
    ),
    "the size of a tensor": (
        lambda held: held[0].shape[0] / 10,
        lambda: [torch.ones(2)],
        lambda held: held[0].resize_(5),
    ),
    "the axes of a tensor": (
        lambda held: held.dim() / 10,
        lambda: torch.ones(2),
        lambda held: held.unsqueeze_(0),
    ),
}


@pytest.mark.parametrize(("read", "make", "change"), IN_PLACE.values(), ids=IN_PLACE)
def test_a_change_in_place_is_noticed(read, make, change):
    held = make()
    check_change(lambda: read(held), lambda: change(held))


REPLACED = {
    "the order of the numbers": (
        lambda held: float(held.ravel("K")[1]),
        np.array([[0.1, 0.5], [0.7, 0.2]]),
        np.asfortranarray([[0.1, 0.5], [0.7, 0.2]]),
    ),
    "the strides of an array": (
        lambda held: held.strides[0] / 100,
        np.zeros((2, 2)),
        np.zeros((2, 2), order="F"),
    ),
    "whether an array is a view": (
        lambda held: 0.5 if held.base is None else 0.7,
        np.zeros(2),
        np.zeros(3)[:2],
    ),
}


@pytest.mark.parametrize(("read", "one", "other"), REPLACED.values(), ids=REPLACED)
def test_another_with_the_same_numbers_is_noticed(read, one, other):
    subject = scaled(lambda self: read(self.held), held=one)
    check_change(subject, lambda: setattr(subject, "held", other))


# modules of PyTorch


@changes
def whether_a_buffer_is_saved(patch):
    subject = scaled(lambda self: 0.7 if "b" in self._non_persistent_buffers_set else 0.5 * self.b)
    subject.register_buffer("b", torch.ones(()).double())
    return subject, partial(subject.register_buffer, "b", subject.b, persistent=False)


@changes
def a_hook_on_what_is_saved(patch):
    def doubled(module, saved, prefix, metadata):
        saved["weight"] = saved["weight"] * 2

    subject = scaled(lambda self: self.W.state_dict()["weight"][0, 0])
    return subject, partial(subject.W._register_state_dict_hook, doubled)


@changes
def how_many_hooks_there_are(patch):
    subject = scaled(lambda self: len(self.W._state_dict_hooks) / 10 + 0.1)
    return subject, partial(subject.W._register_state_dict_hook, lambda *arguments: None)


@changes
def all_attributes_of_a_part(patch):
    subject = scaled(lambda self: self.part.rate, part=nn.Identity())
    subject.part.rate = 0.5
    return subject, lambda: setattr(subject.part, "__dict__", {**vars(subject.part), "rate": 0.7})


@changes
def an_attribute_of_the_class_of_layers(patch):
    patch.setattr(nn.Linear, "rate", 0.5, raising=False)
    return scaled(lambda self: self.W.rate), partial(patch.setattr, nn.Linear, "rate", 0.7)


@changes
def what_layers_compute(patch):
    before = nn.Linear.forward
    return lambda: 0.5, partial(
        patch.setattr, nn.Linear, "forward", lambda self, x: before(self, x) * 2
    )


@changes
def a_method_of_tensors(patch):
    subject = scaled(lambda self: self.W.bias.sum().exp())
    return subject, partial(patch.setattr, torch.Tensor, "exp", lambda self: self * 2)


# what is said to be of a library, and is not


def executed(text, **names):
    exec(text, names)
    return names["made"]


CLASSES = {
    "executed": lambda: executed("class made: rate = 0.5"),
    "of a metaclass": lambda: abc.ABCMeta("Gate", (), {"rate": 0.5}),
    "of PyTorch": lambda: type("Gate", (), {"rate": 0.5, "__module__": "torch"}),
}


@pytest.mark.parametrize("make", CLASSES.values(), ids=CLASSES)
def test_a_change_of_a_class_that_does_not_say_whose_it_is_is_noticed(make):
    gate = make()
    check_change(lambda: gate.rate, partial(setattr, gate, "rate", 0.7))


@changes
def an_object_said_to_be_of_pytorch(patch):
    gate = type("Gate", (), {"__module__": "torch"})()
    gate.rate = 0.5
    return lambda: gate.rate, partial(setattr, gate, "rate", 0.7)


@changes
def a_global_of_a_function_said_to_be_of_pytorch(patch):
    made = executed("def made(): return RATE", RATE=0.5, __name__="torch.mine")
    return lambda: made(), partial(setitem, made.__globals__, "RATE", 0.7)


@changes
def an_attribute_of_a_function_said_to_be_of_pytorch(patch):
    @functools.wraps(F.relu)
    def held():
        pass

    held.rates = [0.5]
    return lambda: held.rates[0], partial(setitem, held.rates, 0, 0.7)


@changes
def a_built_in_of_its_own(patch):
    own = {"RATE": 0.5}
    made = executed("def made(): return RATE", __name__=__name__, __builtins__=own)
    return lambda: made(), partial(setitem, own, "RATE", 0.7)


@changes
def a_module_named_like_one_of_a_library(patch):
    settings = types.ModuleType("json.settings")
    settings.rate = 0.5
    return lambda: settings.rate, partial(setattr, settings, "rate", 0.7)


# what is installed


@changes
def an_attribute_of_a_function_of_a_library(patch):
    patch.setattr(textwrap.dedent, "rate", 0.5, raising=False)
    return lambda: textwrap.dedent.rate, partial(patch.setattr, textwrap.dedent, "rate", 0.7)


@changes
def an_attribute_of_a_class_of_a_library(patch):
    patch.setattr(string.Template, "rate", 0.5, raising=False)
    return lambda: string.Template.rate, partial(patch.setattr, string.Template, "rate", 0.7)


@changes
def the_defaults_of_a_function_of_a_library(patch):
    return lambda: 0.5 if textwrap.indent.__defaults__[0] is None else 0.7, partial(
        patch.setattr, textwrap.indent, "__defaults__", (1,)
    )


@changes
def a_variable_of_a_library_that_an_object_holds(patch):
    held = types.SimpleNamespace(library=math)
    return lambda: held.library.pi / 10, partial(patch.setattr, math, "pi", 5.0)


@changes
def a_module_that_is_imported_by_a_composed_name(patch):
    settings = types.ModuleType("settings_of_a_test")
    settings.rate = 0.5
    patch.setitem(sys.modules, settings.__name__, settings)
    return (
        lambda: importlib.import_module("_".join(("settings", "of", "a", "test"))).rate,
        partial(setattr, settings, "rate", 0.7),
    )


@changes
def what_counts_as_a_sequence(patch):
    class Gate:
        pass

    gate = Gate()
    return (
        lambda: 0.7 if isinstance(gate, collections.abc.Sequence) else 0.5,
        partial(collections.abc.Sequence.register, Gate),
    )


@changes
def how_a_class_is_copied(patch):
    class Gate:
        rate = 0.5

    def other():
        made = Gate()
        made.rate = 0.7
        return made

    gate = Gate()
    return lambda: copy.copy(gate).rate, partial(
        patch.setitem, copyreg.dispatch_table, Gate, lambda gate: (other, ())
    )


@pytest.mark.parametrize(
    ("write", "read"),
    [
        (lambda path, rate: np.save(path, [rate]), lambda path: float(np.load(path)[0])),
        (
            lambda path, rate: np.array([rate]).tofile(path),
            lambda path: float(np.fromfile(path)[0]),
        ),
        (lambda path, rate: torch.save([rate], path), lambda path: torch.load(path)[0]),
        (
            lambda path, rate: Path(path).write_text(f"{rate}\n", encoding="utf-8"),
            lambda path: float(linecache.getline(path, 1)),
        ),
    ],
    ids=["an array", "numbers", "an object of PyTorch", "a line"],
)
def test_a_change_of_a_file_is_noticed(write, read, tmp_path):
    path = str(tmp_path / "rates.npy")
    write(path, 0.5)
    check_change(
        lambda: read(path),
        lambda: (write(path, 0.75), linecache.checkcache(path)),
        partial(linecache.cache.pop, path, None),
    )


# the process


@changes
def a_variable_of_the_environment(patch):
    patch.setenv("RATE_OF_A_TEST", "0.5")
    return lambda: float(getenv("RATE_OF_A_TEST")), partial(patch.setenv, "RATE_OF_A_TEST", "0.7")


@changes
def the_size_of_the_terminal(patch):
    patch.setenv("COLUMNS", "50")
    patch.setenv("LINES", "50")
    return lambda: shutil.get_terminal_size().columns / 100, partial(patch.setenv, "COLUMNS", "70")


@changes
def the_name_of_a_thread(patch):
    thread = threading.main_thread()
    return lambda: len(threading.main_thread().name) / 100, partial(
        patch.setattr, thread, "name", "a longer name than it had"
    )


@changes
def the_level_of_a_logger(patch):
    logger = logging.getLogger("logger_of_a_test")
    logger.setLevel(50)
    change, undo = (partial(logger.setLevel, level) for level in (70, 0))
    return lambda: logging.getLogger("logger_of_a_test").level / 100, change, undo


@changes
def the_default_of_a_context_variable(patch):
    rates = [0.5]
    held = contextvars.ContextVar("rates", default=rates)
    return lambda: held.get()[0], partial(setitem, rates, 0, 0.7)


@changes
def how_often_an_object_is_held(patch):
    held, others = [], []
    return lambda: 0.5 if sys.getrefcount(held) < 20 else 0.7, lambda: others.extend([held] * 50)


@changes
def the_precision_of_a_kind_of_decimal(patch):
    class Share(decimal.Decimal):
        pass

    share = Share(1)
    return lambda: float(share / 7), partial(patch.setattr, decimal.getcontext(), "prec", 1)


@changes
def how_numbers_are_printed(patch):
    before = np.get_printoptions()["precision"]
    change, undo = (partial(np.set_printoptions, precision=digits) for digits in (1, before))
    return lambda: float(str(np.array([0.567]))[1:-1]), change, undo


@changes
def how_a_number_of_numpy_is_written(patch):
    change, undo = (partial(np.set_printoptions, legacy=how) for how in ("1.25", False))
    return lambda: len(repr(np.float64(0.5))) / 20, change, undo


SETTINGS = {
    "recursion": (lambda: sys.getrecursionlimit(), sys.setrecursionlimit, 4000),
    "switching": (lambda: sys.getswitchinterval(), sys.setswitchinterval, 0.02),
    "sockets": (lambda: socket.getdefaulttimeout(), socket.setdefaulttimeout, 0.7),
    "a signal": (
        lambda: signal.getsignal(signal.SIGTERM),
        partial(signal.signal, signal.SIGTERM),
        signal.SIG_IGN,
    ),
    "the locale": (
        lambda: locale.setlocale(locale.LC_CTYPE),
        partial(locale.setlocale, locale.LC_CTYPE),
        "C.UTF-8" if locale.setlocale(locale.LC_CTYPE) == "C" else "C",
    ),
    "errors of NumPy": (
        lambda: np.geterr(),
        lambda handled: np.seterr(**handled),
        {"all": "ignore"},
    ),
    "threads": (lambda: torch.get_num_threads(), torch.set_num_threads, 5),
    "anomalies": (lambda: torch.is_anomaly_enabled(), torch.autograd.set_detect_anomaly, True),
    "warnings": (lambda: torch.is_warn_always_enabled(), torch.set_warn_always, True),
    "precision": (
        lambda: torch.get_float32_matmul_precision(),
        torch.set_float32_matmul_precision,
        "high",
    ),
}


@pytest.mark.parametrize(("get", "put", "other"), SETTINGS.values(), ids=SETTINGS)
def test_a_change_of_a_setting_is_noticed(get, put, other):
    before = get()
    check_change(lambda: 0.5 if get() == before else 0.7, partial(put, other), partial(put, before))


@pytest.mark.parametrize("case", changes, ids=lambda case: case.__name__)
def test_a_change_is_noticed(case, monkeypatch):
    check_change(*case(monkeypatch))

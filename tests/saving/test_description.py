"""Classes by the names they are registered under: saved, found again, never confused."""

import importlib
import json
import pkgutil
import re
import subprocess
import sys

import pytest
import torch

import saiki
from saiki import Cell, InputError, Recurrent, load
from saiki.cells import GRU, LSTM
from saiki.experiments.adder import Adder
from saiki.files import write_json
from saiki.models.classifier import SequenceClassifier
from saiki.nn.mel import LogMel
from saiki.runs.folder import RunFolder
from saiki.runs.record import Options
from saiki.runs.run import run
from saiki.saving import tensors
from saiki.saving.description import Described, describe, make

SOURCE = """
import torch, saiki
class {name}(saiki.Cell{keywords}):
    def step(self, x, h):
        return torch.tanh(x.sum(-1, keepdim=True) + {addend} * h)
"""


def defined(name, module, addend=1, keywords=""):
    """The class, defined as if by a file of that name."""
    scope = {"__name__": module}
    exec(SOURCE.format(name=name, addend=addend, keywords=keywords), scope)
    return scope[name]


def classes(base=Described):
    for cls in base.__subclasses__():
        yield cls
        yield from classes(cls)


def is_there(cls):
    """Whether its module holds the class under its name."""
    return getattr(sys.modules[cls.__module__], cls.__qualname__, None) is cls


def test_every_class_of_saiki_has_a_versioned_name_of_its_own():
    for module in pkgutil.walk_packages(saiki.__path__, "saiki."):
        importlib.import_module(module.name)
    # without those that PyTorch makes of a class while a program runs
    own = {cls for cls in classes() if cls.__module__.startswith("saiki.") and is_there(cls)}
    assert len(own) > 40
    names = [cls.registered_name for cls in own]
    assert sorted(names) == sorted(set(names))
    for cls in own:
        assert re.fullmatch(r"[a-z0-9_.]+\.v[0-9]+", cls.registered_name), cls


def test_a_class_is_registered_under_its_own_name_or_the_one_it_asks_for():
    assert defined("Plain", "registering").registered_name == "Plain"
    named = defined("Named", "registering", keywords=", name='registering.named.v3'")
    assert named.registered_name == "registering.named.v3"
    described = json.loads(json.dumps(describe(Recurrent(named(2, 3)))))
    assert described["class"] == "recurrent.v1"
    assert described["arguments"]["cell"]["class"] == "registering.named.v3"
    assert type(make(described).cell) is named


@pytest.mark.parametrize("name", ["''", "3"])
def test_a_name_that_is_no_text_is_refused(name):
    with pytest.raises(InputError, match=f"the name of Nameless must be text, got {name}"):
        defined("Nameless", "registering", keywords=f", name={name}")


def test_a_subclass_does_not_take_the_name_of_its_base():
    class Inheriting(LSTM):
        pass

    assert describe(Inheriting(2, 3))["class"] == "Inheriting"


def test_a_class_defined_anew_takes_the_place_of_the_old_one():
    old = defined("Redefined", "__main__")
    description = describe(old(2, 3))
    new = defined("Redefined", "__main__", addend=2)
    assert type(make(description)) is new
    assert describe(old(2, 3)) == description


def test_two_classes_of_one_name_are_not_confused():
    first = defined("Confused", "one")
    description = describe(first(2, 3))
    second = defined("Confused", "two")
    sentence = "Confused is the name of one.Confused and two.Confused; give one of them another"
    with pytest.raises(InputError, match=sentence):
        describe(second(2, 3))
    with pytest.raises(InputError, match=sentence):
        make(description)
    assert type(make(description, classes=[first])) is first
    assert type(make(description, classes=[second])) is second
    with pytest.raises(InputError, match=sentence):
        make(description, classes=[first, second])


def test_a_class_that_calls_itself_like_one_of_saiki_is_not_confused_with_it():
    usurper = defined("Usurper", "three", keywords=", name='gru.v1'")
    try:
        with pytest.raises(InputError, match=r"saiki.cells.gru.GRU and three.Usurper"):
            describe(GRU(2, 3))
        assert (
            type(
                make(
                    {"class": "gru.v1", "arguments": {"input_size": 2, "hidden_size": 3}},
                    classes=[usurper],
                )
            )
            is usurper
        )
    finally:  # it would disturb every other test
        saiki.saving.description._registry["gru.v1"].pop("three.Usurper")


def test_what_is_not_described_cannot_be_given():
    with pytest.raises(InputError, match=r"classes=.* takes cells .*, got <class 'torch.nn"):
        make(describe(GRU(2, 3)), classes=[torch.nn.GRU])


def test_a_class_may_be_given(tmp_path):
    class Own(Cell, name="test_described.own"):
        def step(self, x, h):
            return torch.tanh(x.sum(-1, keepdim=True) + h)

    path = Recurrent(Own(2, 3)).save_pretrained(tmp_path / "own")
    del saiki.saving.description._registry["test_described.own"]
    with pytest.raises(InputError, match=r"needs the class test_described.own, .* import it first"):
        load(path)
    assert isinstance(load(path, classes=[Own]).cell, Own)


def test_arguments_in_front_of_a_star_are_given_by_their_places():
    class Many(Cell, name="test_described.many"):
        def __init__(self, input_size, hidden_size, *scales, bias=0.0):
            super().__init__(input_size, hidden_size)
            self.scales, self.bias = scales, bias

        def step(self, x, h):
            return torch.tanh(x.sum(-1, keepdim=True) + sum(self.scales) * h + self.bias)

    copy = make(describe(Many(2, 3, 0.5, 0.25, bias=1.0)))
    assert (copy.input_size, copy.hidden_size) == (2, 3)
    assert (copy.scales, copy.bias) == ((0.5, 0.25), 1.0)
    assert make(describe(Many(2, hidden_size=3))).scales == ()


def test_the_model_of_a_run_takes_the_classes_that_are_given(tmp_path):
    class Ours(Cell, name="test_described.of_a_run"):
        def step(self, x, h):
            return torch.tanh(x.sum(-1, keepdim=True) + h)

    model = Recurrent(Ours(2, 3))
    about = {"model": describe(model)}
    tensors.save(tmp_path / "model.safetensors", model.state_dict(), about)
    write_json(tmp_path / "config.json", {"experiment": "adder"})
    del saiki.saving.description._registry["test_described.of_a_run"]
    with pytest.raises(InputError, match=r"needs the class .*pass classes=\[...\]"):
        load(tmp_path)
    assert isinstance(load(tmp_path, classes=[Ours]).cell, Ours)


@pytest.mark.long
def test_a_fresh_process_finds_every_class_of_saiki(tmp_path):
    models = {
        "digits": SequenceClassifier(LogMel(8000), ["a", "b"], Recurrent(GRU(40, 4))),
        "adder": Adder().model(),
        "layer": saiki.nn.LSTM(3, 4, layer_norm=True),
    }
    for name, model in models.items():
        model.save_pretrained(tmp_path / name)
    code = (
        "import os, sys, torch._dynamo\n"
        "for path in sys.argv[1:]:\n"
        "    if not os.fork():\n"  # which no other has been loaded in
        "        import saiki\n"
        "        print(type(saiki.load(path)).__qualname__, flush=True)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
    )
    words = [sys.executable, "-c", code, *(str(tmp_path / name) for name in models)]
    done = subprocess.run(words, capture_output=True, text=True)
    wanted = [type(model).__qualname__ for model in models.values()]
    assert done.stdout.split() == wanted, done.stderr


def test_no_saved_file_knows_where_a_class_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["saiki", "run", "adder"])
    experiment = Adder(iterations=20, log_every=10)
    folder = RunFolder.create("adder", tmp_path / "run")
    run(experiment, folder, options=Options(watch=True))
    experiment.model().save_pretrained(tmp_path / "model")
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".png"]
    assert {p.name for p in files} >= {"training.safetensors", "model.safetensors", "config.json"}
    for path in files:
        assert not re.search(rb"saiki\.[a-z]", path.read_bytes()), path

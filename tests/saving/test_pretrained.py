"""A model saved and loaded is the same model; what does not fit is refused in a sentence."""

import json
from functools import partial

import pytest
import torch

import saiki
import saiki.nn as sn
from saiki import Bidirectional, InputError, Recurrent, Stack, activations, load
from saiki.cells import GRU, LSTM, SimpleRNN


class Leaky(saiki.Cell, name="test_pretrained.leaky"):
    def __init__(self, input_size, hidden_size, *, rate=0.5):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, hidden_size)
        self.rate = rate
        self.register_buffer("shift", torch.randn(hidden_size))

    def step(self, x, h):
        return self.rate * h + torch.tanh(self.W(x) + self.shift)


def tied():
    cell = GRU(3, 4)
    return Bidirectional(cell, backward=cell)


def swapped():
    model = torch.nn.GRU(3, 4, num_layers=2, batch_first=True)
    saiki.swap(model)
    return model


MODELS = {
    "cell": partial(LSTM, 3, 4, projection_size=2),
    "layer": lambda: Recurrent(LSTM(3, 4, peephole=True), reverse=True, backend="eager"),
    "activation": lambda: Recurrent(SimpleRNN(3, 4, activations.get("leaky_relu", alpha=0.2))),
    "clipped": lambda: Recurrent(
        SimpleRNN(
            3, 4, saiki.export.Clipped(saiki.export.OnnxFunction("ScaledTanh", 1.5, 0.5), 2.0)
        )
    ),
    "stack": lambda: Stack([Bidirectional(GRU(3, 4), merge="sum"), LSTM(4, 2)], dropout=0.1),
    "tied": tied,
    "own cell": lambda: Recurrent(Leaky(3, 4, rate=0.25)),
    "drop-in": lambda: sn.LSTM(3, 4, 2, bidirectional=True, layer_norm=True, merge="mul"),
    "drop-in rnn": lambda: sn.RNN(3, 4, 1, "relu", batch_first=True, zoneout=0.1),
    "drop-in cell": lambda: sn.GRUCell(3, 4, reset="before"),
    "swapped": swapped,
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", MODELS)
def test_comes_back_with_the_same_weights_and_makes_the_same_outputs(name, dtype, tmp_path):
    model = MODELS[name]().to(dtype)
    loaded = load(model.save_pretrained(tmp_path / "model"))
    assert type(loaded) is type(model)
    assert repr(loaded) == repr(model)
    assert not loaded.training
    wanted, state = model.state_dict(), loaded.state_dict()
    assert list(state) == list(wanted)
    for key, tensor in wanted.items():
        assert state[key].dtype == dtype
        assert torch.equal(state[key], tensor)
    if name != "cell" and dtype != torch.bfloat16:
        x = torch.randn(*((2, 3) if "cell" in name and "own" not in name else (2, 5, 3))).to(dtype)
        for a, b in zip(flat(model.eval()(x)), flat(loaded(x)), strict=True):
            assert torch.equal(a, b)


def changed(model, **values):
    for path, value in values.items():
        *parents, name = path.split("__")
        setattr(model.get_submodule(".".join(parents)), name, value)
    return model


@pytest.mark.parametrize(
    ("model", "values"),
    [
        (Recurrent(LSTM(3, 4)), {"reverse": True, "backend": "eager"}),
        (Recurrent(SimpleRNN(3, 4)), {"cell": SimpleRNN(3, 4, "relu")}),
        (Bidirectional(GRU(3, 4)), {"merge": "sum", "forward_layer": Recurrent(LSTM(3, 4))}),
        (Stack([GRU(3, 4), GRU(4, 4)], 0.5), {"layers__1": Recurrent(LSTM(4, 2))}),
        (Stack([Bidirectional(GRU(3, 4))]), {"dropout__p": 0.25, "layers__0__merge": "mean"}),
    ],
)
def test_a_layer_is_saved_as_it_is_and_not_as_it_was_made(model, values, tmp_path):
    model = changed(model, **values)
    loaded = load(model.save_pretrained(tmp_path))
    assert repr(loaded) == repr(model)
    x = torch.randn(2, 5, 3)
    for a, b in zip(flat(model.eval()(x)), flat(loaded(x)), strict=True):
        assert torch.equal(a, b)


class Deeper(Recurrent, name="test_pretrained.deeper"):
    def __init__(self, size):
        super().__init__(GRU(size, size))


def test_a_subclass_is_made_by_its_own_arguments(tmp_path):
    assert isinstance(load(Deeper(3).save_pretrained(tmp_path)), Deeper)


def flat(states):
    if isinstance(states, torch.Tensor):
        return [states]
    return [tensor for state in states for tensor in flat(state)]


def test_tied_weights_are_stored_once_and_stay_tied(tmp_path):
    model = tied()
    loaded = load(model.save_pretrained(tmp_path))
    assert loaded.forward_layer.cell is loaded.backward_layer.cell
    assert len(list(loaded.parameters())) == len(list(GRU(3, 4).parameters()))
    alone = Recurrent(GRU(3, 4)).save_pretrained(tmp_path / "alone")
    sizes = [(path / "model.safetensors").stat().st_size for path in (tmp_path, alone)]
    assert sizes[0] < 1.2 * sizes[1]


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def described(folder):
    return json.loads((folder / "config.json").read_text())["model"]


@pytest.fixture
def folder(tmp_path):
    return Recurrent(GRU(3, 4)).save_pretrained(tmp_path / "model")


def of_the_wrong_size(folder):
    model = described(folder)
    model["arguments"]["cell"]["arguments"]["hidden_size"] = 5
    change(folder, model=model)


def of_another_class(folder):
    model = described(folder)
    model["arguments"]["cell"]["class"] = "simple_rnn.v1"
    change(folder, model=model)


def with_an_unknown_argument(folder):
    model = described(folder)
    model["arguments"]["depth"] = 3
    change(folder, model=model)


def naming(name):
    return lambda folder: change(folder, model={"class": name, "arguments": {}})


def with_a_weight_changed(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json does not exist"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors cannot be read"),
        (lambda f: (f / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda f: (f / "config.json").write_text("{}"), "does not describe a model"),
        (with_a_weight_changed, "the checksums differ"),
        (lambda f: change(f, format=2), "of format 2, and this saiki reads format 1"),
        (of_the_wrong_size, r"has the shape \(\d+(, \d)?,?\) instead of"),
        (of_another_class, "missing .* unknown|cannot be made"),
        (with_an_unknown_argument, "unexpected keyword argument 'depth'"),
        (naming("os.system"), "needs the class os.system, which is not defined here"),
        (naming("saiki.runs.RunFolder"), "needs the class saiki.runs.RunFolder"),
        (naming("lstm.v0"), "needs the class lstm.v0"),
        (naming("nowhere.Cell"), "needs the class nowhere.Cell, .*pass classes="),
        (lambda f: change(f, model=[1]), r"describes \[1\], which is not a model"),
        (lambda f: change(f, model={"class": 1}), "which describes nothing"),
        (lambda f: change(f, same=[1]), "under 'same'"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "cannot be read as JSON"),
        (lambda f: change(f, model={"same": 3}), "means module 3 before it is there"),
        (lambda f: change(f, same={"a": "b"}), "says that a is b, which is not there"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(folder, spoil, sentence):
    spoil(folder)
    with pytest.raises(InputError, match=sentence):
        load(folder)


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (Recurrent(LSTM(2, 3, activation=torch.sin)), "activation of LSTM is .* cannot be saved"),
        (Recurrent(Leaky(2, 3, rate=float("nan"))), "rate of Leaky is nan, which cannot be saved"),
    ],
)
def test_what_data_cannot_say_is_refused_and_nothing_is_written(model, sentence, tmp_path):
    with pytest.raises(InputError, match=sentence):
        model.save_pretrained(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_model_of_another_kind_is_refused(tmp_path):
    with pytest.raises(InputError, match="Linear does not remember how it was made"):
        saiki.pretrained.save(torch.nn.Linear(2, 3), tmp_path)

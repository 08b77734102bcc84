"""Stored models whose description asks for something else than is stored: told in one sentence,
before any memory is taken."""

import resource
from collections.abc import Callable, Sequence
from typing import Literal

import pytest
import torch

import saiki
from saiki.cells import GRU
from saiki.errors import InputError
from saiki.models.classifier import SequenceClassifier
from saiki.nn.mel import LogMel
from saiki.saving import tensors
from saiki.saving.description import at_most, describe, make
from saiki.saving.kinds import fits
from saiki.saving.pretrained import WEIGHTS, of_run


def classifier():
    features = LogMel(8000, bands=6)
    return SequenceClassifier(features, ["a", "b"], saiki.Recurrent(GRU(12, 4)), "mean", rate=8000)


@pytest.fixture
def forged(tmp_path):
    """Writes the file of a run with other words or tensors, and a checksum that is right."""

    def forge(change=lambda arguments: None, changed=lambda weights: None, model=None):
        model = model or classifier()
        description, weights = describe(model), dict(model.state_dict())
        change(description["arguments"])
        changed(weights)
        about = {"run": ["adder", {}], "model": description}
        tensors.save(tmp_path / WEIGHTS, weights, about)
        return tmp_path

    return forge


def cell(arguments):
    return arguments["recurrent"]["arguments"]["cell"]["arguments"]


def test_a_model_whose_shapes_are_asked_for_first_has_all_that_it_was_saved_with(forged):
    saved = classifier()
    model, _ = of_run(forged(model=saved))
    x, lengths = torch.randn(2, 4000), torch.tensor([4000, 3000])
    assert torch.equal(model(x, lengths), saved.eval()(x, lengths))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: cell(a).update(hidden_size=6000), "instead of"),
        (lambda a: a["features"]["arguments"].update(bands=10**9), "cannot be made|instead of|GiB"),
        (lambda a: a["features"]["arguments"].update(rate=2**40), "GiB beside its weights"),
    ],
)
def test_what_a_description_asks_for_beyond_what_is_stored_is_never_allocated(
    forged, change, sentence
):
    folder = forged(change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=sentence):
        of_run(folder)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100 * 1024  # kB; the weights of the first alone are 432 MB


def test_no_number_asks_for_more_layers_than_are_stored():
    with pytest.raises(InputError, match="more than 9 layers"), at_most(9):
        torch.nn.Sequential(*(torch.nn.ReLU() for _ in range(10)))
    torch.nn.Sequential(*(torch.nn.ReLU() for _ in range(10)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda a: a.update(classes=["a", 2]), "classes of sequence_classifier.v1 must be a list"),
        (lambda a: a.update(recurrent=None), "recurrent of sequence_classifier.v1 must be"),
        (lambda a: a.update(dropout="0.5"), "dropout of .* must be a number, got '0.5'"),
        (lambda a: a.update(rate=True), "rate of .* must be a whole number or null, got True"),
        (lambda a: cell(a).update(reset="sideways"), "reset of gru.v1 must be one of"),
        (lambda a: cell(a).update(hidden_size=4.0), "hidden_size of gru.v1 must be a whole number"),
        (lambda a: cell(a).update(hidden_size=10**40), "which describes nothing"),
        (lambda a: a.update(dropout=float("nan")), "nan, which describes nothing"),
        (lambda a: a["features"]["arguments"].update(rate=0), "log_mel.v1 cannot be made"),
    ],
)
def test_arguments_of_another_kind_are_refused_by_name(forged, change, sentence):
    with pytest.raises(InputError, match=sentence):
        of_run(forged(change))


def test_a_description_may_not_be_nested_without_end():
    nested = 1
    for _ in range(2000):
        nested = [nested]
    with pytest.raises(InputError, match="nested too deep"):
        make(nested)


def as_type(dtype):
    def change(weights):
        weights["readout.weight"] = weights["readout.weight"].to(dtype)

    return change


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_numbers_of_another_kind_are_refused(forged, dtype):
    with pytest.raises(InputError, match=f"readout.weight holds numbers of the type {dtype}"):
        of_run(forged(changed=as_type(dtype)))


def test_a_run_holds_numbers_of_one_type(forged):
    with pytest.raises(InputError, match=r"one type, .* torch.float16 and torch.float32"):
        of_run(forged(changed=as_type(torch.float16)))


def test_a_cell_of_a_users_own_may_look_at_its_numbers_and_is_read_back(tmp_path):
    class Looking(saiki.Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.W = torch.nn.Linear(input_size, hidden_size)
            self.largest = float(self.W.weight.detach().abs().max())

        def step(self, x, h):
            return torch.tanh(self.W(x)) + 0 * h

    layer = saiki.Recurrent(Looking(2, 3))
    x = torch.randn(1, 4, 2)
    assert torch.equal(saiki.load(layer.save_pretrained(tmp_path))(x)[0], layer(x)[0])


def test_text_that_stands_for_no_characters_is_refused():
    with pytest.raises(InputError, match="which describes nothing"):
        make(["\ud800"])


@pytest.mark.parametrize(
    ("value", "kind", "right"),
    [
        (1, float, True),
        (True, int, False),
        (True, float, False),
        (1.0, int, False),
        ("x", str, True),
        (None, int | None, True),
        ("x", int | None, False),
        (torch.relu, Callable[..., torch.Tensor], True),
        ([1, 2.5], Sequence[float], True),
        ([1, "x"], Sequence[float], False),
        ("ab", Sequence[str], False),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        (["a"], Literal["a", "b"], False),
    ],
)
def test_a_value_is_of_a_kind_or_not(value, kind, right):
    assert fits(value, kind) is right

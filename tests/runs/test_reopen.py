"""A run folder read back is the run that was, or one sentence."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import saiki
from saiki.cells import SimpleRNN
from saiki.data.series import sums
from saiki.errors import InputError
from saiki.layers.recurrent import Recurrent
from saiki.runs.reopen import reopen
from saiki.saving import tensors
from saiki.saving.description import describe
from small_runs import SETTING, damaged, trained_apart


def test_a_reopened_model_answers_as_the_one_in_memory(outcome):
    experiment, model = reopen(outcome.folder.path)
    assert experiment == SETTING
    twin, _ = trained_apart()
    for pair in ("3 + 4", "7 + 7", "123456 + 654321"):
        answers = [experiment.predict(m, pair) for m in (model, twin)]
        assert answers[0].output == answers[1].output
    x, _ = sums.encode(sums.kept_apart(4), 4)
    assert torch.equal(model(x), twin(x))


@pytest.mark.parametrize("kind", [str, Path])
def test_saiki_load_takes_the_folder_of_a_run(outcome, kind):
    x, _ = sums.encode(sums.kept_apart(4), 4)
    model = saiki.load(kind(outcome.folder.path))
    assert torch.equal(model(x), trained_apart()[0](x))
    assert not model.training


def described(path, description):
    """The weights say that their model is made so."""
    tensors_, about = tensors.load(path / "model.safetensors")
    about = {name: value for name, value in about.items() if name != "model"}
    about |= {} if description is None else {"model": description}
    tensors.save(path / "model.safetensors", tensors_, about)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda p: (p / "config.json").unlink(), "is not a run folder"),
        (lambda p: (p / "config.json").write_text("{"), "cannot be read as JSON"),
        (lambda p: damaged(p, config={"a": 1}), "is not the record of a run"),
        (lambda p: damaged(p, knobs=[1]), "is not the record of a run"),
        (lambda p: damaged(p, experiment="subtracter"), "no experiment 'subtracter'"),
        (lambda p: damaged(p, knobs={"colour": 1}), "no knob 'colour'"),
        (lambda p: damaged(p, knobs={"hidden_size": 0}), "hidden_size must be"),
        (lambda p: damaged(p, knobs={"hidden_size": 6}), "does not hold the weights of this run"),
        (lambda p: damaged(p, knobs={"hidden_size": "6"}), "hidden_size must be"),
        (lambda p: damaged(p, knobs={"cell": ["rnn"]}), "cell must be"),
        (lambda p: described(p, None), "does not say how its model is made"),
        (lambda p: described(p, {"dtype": "float32"}), "which is not a model"),
        (
            lambda p: described(p, {"activation": "swish", "parameters": {"beta": "x"}}),
            "beta of swish must be positive and finite, got x",
        ),
        (lambda p: (p / "model.safetensors").unlink(), "holds no model.safetensors"),
        (lambda p: (p / "model.safetensors").write_bytes(b"\0" * 64), "is damaged"),
        (lambda p: (p / "model.safetensors").write_bytes(b""), "is damaged"),
        (lambda p: save_file({}, p / "model.safetensors"), "was not written by saiki"),
    ],
)
def test_a_damaged_folder_is_told_in_one_sentence(folder, damage, sentence):
    damage(folder)
    with pytest.raises(InputError) as error:
        reopen(folder)
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_a_model_of_another_kind_than_the_exercise_makes_is_refused(folder):
    other = Recurrent(SimpleRNN(2, 5))
    _, about = tensors.load(folder / "model.safetensors")
    forged = {**about, "model": describe(other)}
    tensors.save(folder / "model.safetensors", other.state_dict(), forged)
    with pytest.raises(InputError, match="must hold a model that is of the class AdderNetwork"):
        reopen(folder)

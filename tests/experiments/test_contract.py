"""What every exercise must do, found in the registry: the same questions to each of them."""

import itertools
import json
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.utils._pytree import tree_leaves

from batches import training_batches
from saiki import capabilities, cells, cli, lens
from saiki.cell import Cell
from saiki.errors import InputError
from saiki.experiments import HOMES, load
from saiki.runs.reopen import reopen
from tiny import TINY

pytestmark = pytest.mark.one_in(3)

EVERY = pytest.mark.parametrize("name", HOMES)
CAPABILITIES = [
    each
    for each in vars(capabilities).values()
    if isinstance(each, type) and each.__module__ == capabilities.__name__
]
SWIFT = ["adder", "words", "vae"]
EVERY_IN_TIME = pytest.mark.parametrize(
    "name", [*SWIFT, *(pytest.param(n, marks=pytest.mark.long) for n in HOMES if n not in SWIFT)]
)


def setting(name, folder, **changes):
    return load(name).from_dict(TINY[name].values(folder, **changes))


def run(name, folder, *more, **changes):
    """A run of the command line, its folder."""
    out = folder / "run"
    words = [*TINY[name].flags(folder, **changes), "--out", str(out)]
    assert cli.main(["run", name, *words, *more]) == 0
    return out


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The run of an exercise, made when it is first asked for."""
    torch.set_num_threads(1)
    made = {}

    def of(name):
        if name not in made:
            made[name] = run(name, tmp_path_factory.mktemp(name))
        return made[name]

    return of


def one_line(text):
    """That a refusal is one sentence, and no traceback."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    return lines[0]


# What it says of itself.


@EVERY
def test_knobs_presets_and_claims_are_allowed_and_helped(name):
    experiment = load(name)
    assert experiment.name == name
    assert experiment.summary
    assert experiment.__doc__
    for knob in experiment.knobs().values():
        assert len(knob.help.split()) > 1, knob.name
        assert knob.check(knob.default) == knob.default
        assert knob.parse(str(knob.default)) == knob.default
    for preset in experiment.presets:
        made = experiment.from_dict(experiment.preset(preset))
        assert made.to_dict() == {**experiment().to_dict(), **experiment.presets[preset]}
    for claim in experiment.claims:
        for changes in claim.changes:
            experiment.from_dict({**experiment.preset(claim.preset), **changes})
    assert experiment.minutes > 0
    assert set(experiment.predict_knobs) <= {*experiment.knobs()}


@EVERY
def test_all_have_a_quick_preset_and_the_same_words_for_how_long_they_last(name, tmp_path):
    experiment = load(name)
    assert "quick" in experiment.presets
    assert {"iterations", "epochs"} <= {*experiment.knobs()}
    assert setting(name, tmp_path, iterations=3).iterations == 3
    quick = experiment.from_dict({**experiment.preset("quick"), "iterations": 3})
    assert quick.duration.updates_of(1e6) == 3
    bound = experiment.from_dict(experiment.preset("quick")).duration.updates_of(1e6)
    assert bound <= 3000  # however many examples there are


@EVERY
def test_what_it_can_do_is_declared(name):
    experiment = load(name)
    for capability in CAPABILITIES:
        methods = {n for n, v in vars(capability).items() if n[0] != "_" and not isinstance(v, str)}
        defined = sorted(methods & {*dir(experiment)})
        assert issubclass(experiment, capability) == bool(defined), (capability.__name__, defined)


@EVERY
def test_a_setting_is_written_and_read_back(name, tmp_path):
    experiment = setting(name, tmp_path)
    assert experiment.from_dict(json.loads(json.dumps(experiment.to_dict()))) == experiment
    with pytest.raises(InputError, match="there is no knob 'knob_of_nobody'; the knobs are "):
        experiment.from_dict({"knob_of_nobody": 1})


@EVERY
def test_the_equations_are_there_before_any_data_and_leave_the_random_state_alone(name, tmp_path):
    experiment = load(name)
    changes = {"data": str(tmp_path / "nothing")} if "data" in experiment.knobs() else {}
    for preset in (None, *experiment.presets):
        before = torch.get_rng_state()
        written = experiment.from_dict({**experiment.preset(preset), **changes}).equations()
        assert torch.equal(torch.get_rng_state(), before)
        assert len(written.splitlines()) > 3
        assert "←" in written
        assert "E = " in written.splitlines()[-1]


# What it learns from.


@EVERY
def test_batches_go_on_from_any_number_and_follow_from_the_seed(name, tmp_path):
    def some(count, start=0, **changes):
        batches = training_batches(setting(name, tmp_path, **changes), start)
        return list(itertools.islice(batches, count))

    def same(ours, theirs):
        a, b = tree_leaves(ours), tree_leaves(theirs)
        return len(a) == len(b) and all(map(torch.equal, a, b))

    whole = some(5)
    torch.rand(3)
    assert same(some(3, start=2), whole[2:])
    assert not same(some(5, seed=1), whole)


# A run.


@EVERY
def test_a_run_leaves_its_figures_its_curves_and_its_pictures(name, finished):
    folder, experiment = finished(name), load(name)
    result = json.loads((folder / "result.json").read_text())
    assert result["stopped"] is None
    assert experiment.score in result
    points = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert points[-1]["step"] == result["iterations"]
    assert {experiment.selected_by, *experiment.shown} <= points[0].keys()
    for picture in folder.glob("*.png"):
        assert picture.read_bytes()[:4] == b"\x89PNG"
    assert (folder / "loss.png").is_file()


@EVERY_IN_TIME
def test_a_run_that_is_stopped_and_goes_on_under_the_lens_has_the_same_bits(
    name, finished, tmp_path, monkeypatch, capsys
):
    wanted, kind = finished(name), load(name)
    measure, stopped = kind.measure, []

    def measure_and_stop(self, model, batch):
        if not stopped:
            stopped.append(signal.raise_signal(signal.SIGINT))
        return measure(self, model, batch)

    monkeypatch.setattr(kind, "measure", measure_and_stop)
    words = [*TINY[name].flags(tmp_path), "--out", str(tmp_path / "run")]
    look = ["--lens"] if lens.watchable(reopen(wanted)[1]) else []
    if not look:
        assert cli.main(["run", name, *words, "--lens"]) == 2
        assert "has none; leave out --lens" in one_line(capsys.readouterr().err)
        assert not (tmp_path / "run").exists()
    assert cli.main(["run", name, *words, *look]) == 130
    assert "stopped after iteration 1" in one_line(capsys.readouterr().err)
    assert cli.main(["run", name, *look, "--resume", "--out", str(tmp_path / "run")]) == 0
    ours, theirs = (load_file(f / "model.safetensors") for f in (tmp_path / "run", wanted))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[n], theirs[n]) for n in ours)
    curves = [(f / "metrics.jsonl").read_text() for f in (tmp_path / "run", wanted)]
    steps = {json.loads(line)["step"]: line for line in curves[0].splitlines()}
    for line in curves[1].splitlines():
        assert steps[json.loads(line)["step"]] == line
    if look:
        assert (tmp_path / "run" / "lens.png").read_bytes()[:4] == b"\x89PNG"


# Its use.


@EVERY
def test_the_trained_model_answers_and_refuses_in_one_sentence(name, finished, tmp_path, capsys):
    folder, tiny = str(finished(name)), TINY[name]
    text = tiny.input if isinstance(tiny.input, str) else tiny.input(tmp_path)
    capsys.readouterr()
    assert cli.main(["predict", folder, text, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    if tiny.table:
        assert all({*tiny.table} <= json.loads(line).keys() for line in out.splitlines())
    else:
        answer = json.loads(one_line(out))
        assert answer["input"] == text
        assert {"output", "label"} & answer.keys()
        assert answer["seconds"] >= 0
    assert cli.main(["predict", folder, text]) == 0
    assert capsys.readouterr().out.strip()
    if tiny.refused is not None:
        assert cli.main(["predict", folder, tiny.refused, "--json"]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert one_line(err).startswith("saiki predict: ")


@EVERY
def test_the_input_that_is_named_as_an_example_has_an_answer(name, finished):
    folder = str(finished(name))
    experiment, _ = reopen(Path(folder))
    assert cli.main(["predict", folder, experiment.data.input_example()]) == 0


@EVERY_IN_TIME
def test_the_trained_model_is_exported_or_it_is_said_why_not(name, finished, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    folder = str(finished(name))
    capsys.readouterr()
    code = cli.main(["export", folder, "--onnx", str(tmp_path / "model.onnx")])
    out, err = capsys.readouterr()
    if code:
        assert code == 2
        assert one_line(err).startswith("saiki export: ")
    written = [str(path) for path in sorted(tmp_path.iterdir())]
    assert sorted(out.splitlines()) == written
    assert bool(written) == (code == 0)


# Data and cells of others.


@pytest.mark.parametrize(
    ("name", "wrong"), [(name, wrong) for name in HOMES for wrong in TINY[name].useless]
)
def test_data_of_no_use_are_refused_in_one_sentence(name, wrong, tmp_path, capsys):
    data = TINY[name].useless[wrong](tmp_path)
    words = TINY[name].flags(tmp_path, data=data)
    assert cli.main(["run", name, *words, "--out", str(tmp_path / "run")]) == 2
    assert one_line(capsys.readouterr().err).startswith("saiki run: ")
    assert not (tmp_path / "run").exists()


@EVERY
def test_one_example_at_a_time_is_enough(name, tmp_path):
    experiment = setting(name, tmp_path, **TINY[name].odd)
    model = experiment.model()
    assert torch.isfinite(experiment.measure(model, next(training_batches(experiment)))["loss"])
    if isinstance(experiment, capabilities.Monitors):
        experiment.monitor(model.eval())
    assert experiment.score in experiment.evaluate(model)


class Leaky(Cell):
    """A cell of somebody else.

    h ← ½ h + ½ tanh(W x)
    """

    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.W = torch.nn.Linear(input_size, hidden_size)

    def step(self, x, h):
        return 0.5 * h + 0.5 * torch.tanh(self.W(x))


@pytest.mark.parametrize("name", [name for name in HOMES if "cell" in load(name).knobs()])
def test_a_family_that_is_registered_is_offered_and_built(name, tmp_path, monkeypatch):
    monkeypatch.setitem(cells.FAMILIES, "leaky", Leaky)
    assert "leaky" in load(name).knob("cell").choices
    experiment = setting(name, tmp_path, cell="leaky")
    model = experiment.model()
    families = {type(m) for m in model.modules() if isinstance(m, Cell) and hasattr(m, "W")}
    assert families == {Leaky}
    assert "h ← ½ h + ½ tanh(W x)" in experiment.equations()
    experiment.measure(model, next(training_batches(experiment)))["loss"].backward()
    assert all(p.grad is not None for p in model.parameters())

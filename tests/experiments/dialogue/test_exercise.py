"""The exercise of dialogue: what it learns, judges and says."""

import io
import json
import math
import sys

import numpy as np
import pytest
import torch

from batches import training_batches
from commands import flags
from saiki import cli
from saiki.data.text.dialogue_rows import DialogueRows
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.dialogue.exercise import CLAIMS, Conversing
from saiki.experiments.dialogue.model import judge
from saiki.experiments.dialogue.replies import prediction_of
from saiki.metrics.replies import distinct
from saiki.models.seq2seq import WrittenText
from saiki.runs.reopen import reopen

NAMES = ["ann", "bob", "cleo", "dan", "eve", "finn", "gus", "hal"]
VERBS, NOUNS = ["see", "hear", "like", "know"], ["dogs", "cats", "birds", "fish"]


def talk(random):
    """Somebody's name is asked for three turns later, when nothing but the context tells."""
    name, verb, noun = (random.choice(of) for of in (NAMES, VERBS, NOUNS))
    second = f"and i {verb} {random.integers(1, 30)} {noun}"
    return [f"i am {name}", second, "what was my name ?", f"you are {name}"]


@pytest.fixture(scope="module")
def talks(tmp_path_factory):
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "talks.jsonl"
    path.write_text("".join(json.dumps(talk(random)) + "\n" for _ in range(900)))
    return path


def setting(data, **changes):
    small = {
        "hidden_size": 64, "embedding_size": 32, "minimum": 1, "batch_size": 32, "epochs": 30.0,
        "learning_rate": 0.01, "dropout": 0.0, "word_drop": 0.0, "data": str(data),
        "device": "cpu",
    }  # fmt: skip
    return Conversing(**{**small, **changes})


@pytest.fixture(scope="module")
def runs(talks, tmp_path_factory):
    """A run of each model."""
    folder = tmp_path_factory.mktemp("runs")
    torch.set_num_threads(1)
    latent = {"latent_size": 4, "draws": 8}
    for model, changes in {
        "seq2seq": {"epochs": 8.0},
        "hred": {"epochs": 90.0, "given_size": 32, "attention": "none"},
        "vhred": {"epochs": 3.0, **latent},
    }.items():  # fmt: skip
        knobs = setting(talks, model=model, **changes).to_dict()
        changed = {k: v for k, v in knobs.items() if v != Conversing().to_dict()[k]}
        assert cli.main(["run", "dialogue", *flags(**changed), "--out", str(folder / model)]) == 0
    return folder


def test_the_examples_are_the_replies(tmp_path):
    talks = {"train": ["abc", "de", "fghij"], "dev": ["ab"], "test": ["klmn", "op"]}
    for part, turns in talks.items():
        lines = (json.dumps([*talk]) + "\n" for talk in turns)
        (tmp_path / f"{part}.jsonl").write_text("".join(lines))
    data = setting(tmp_path, replies=2).data
    assert data.examples() == (2 + 1 + 4, 3 + 1)
    assert data.count == 1 + 1 + 2  # pieces of two replies at most


@pytest.mark.long
def test_context_tells_what_the_turn_before_does_not(runs):
    figures = {
        model: json.loads((runs / model / "result.json").read_text())
        for model in ("seq2seq", "hred")
    }
    figures = {model: result.get("figures", result) for model, result in figures.items()}
    plain, with_context = figures["seq2seq"], figures["hred"]
    assert with_context["perplexity_at_3"] < 0.7 * plain["perplexity_at_3"]
    assert with_context["perplexity_at_1"] == pytest.approx(plain["perplexity_at_1"], rel=0.1)
    assert plain["kl"] == plain["active_units"] == 0
    assert with_context["perplexity_at_5"] is None


@pytest.mark.long
@pytest.mark.parametrize("model", ["hred", "vhred"])
def test_a_file_is_scored_with_the_figures_of_the_run(model, runs, tmp_path, capsys):
    experiment, _ = reopen(runs / model)
    test = tmp_path / "test.jsonl"
    lines = (json.dumps(turns) + "\n" for turns in experiment.data.parts.test)
    test.write_text("".join(lines))
    command = ["score", str(runs / model), str(test), str(test), "--json"]
    assert cli.main(command) == 0
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == second  # what is drawn for the one is drawn for the other
    figures = json.loads((runs / model / "result.json").read_text())
    figures = figures.get("figures", figures)
    for name in ("perplexity", "perplexity_turn_3", "kl", "active_units", "distinct_2", "nll"):
        assert first[name] == pytest.approx(figures[name], rel=1e-6), name
    cli.main([*command, "--context", "1"])
    forgetful = json.loads(capsys.readouterr().out.splitlines()[0])
    assert forgetful["perplexity_at_1"] == pytest.approx(first["perplexity_at_1"], rel=1e-2)
    assert forgetful["perplexity_at_3"] > 1.1 * first["perplexity_at_3"] or model == "vhred"
    test.write_text('["alone"]\n')
    assert cli.main(["score", str(runs / "hred"), str(test)]) == 2
    assert "no dialogue of two turns" in capsys.readouterr().err


def test_the_plain_model_looks_at_the_last_turn_alone(talks):
    models = (setting(talks, model=name).model() for name in ("seq2seq", "hred"))
    assert [model.model.reach for model in models] == [1, 6]


@pytest.mark.long
def test_flags_without_use_are_refused(runs, capsys):
    for words, sentence in (
        (["score"], "the following arguments are required: FILE"),
        (["score", "talks.jsonl", "--out", "x"], "unrecognized arguments: --out"),
        (["chat", "--mic"], "unrecognized arguments: --mic"),
        (["chat", "--picture", "x.png"], "unrecognized arguments: --picture"),
        (["chat", "hello"], "unrecognized arguments: hello"),
    ):
        command, *others = words
        with pytest.raises(SystemExit):
            cli.main([command, str(runs / "hred"), *others])
        assert sentence in capsys.readouterr().err


@pytest.mark.long
def test_figures_are_those_by_hand(runs):
    experiment, model = reopen(runs / "hred")
    part = experiment.data.parts.test
    judgement = judge(model, experiment.source.whole(part, model.text, 0), 1)
    nll, tokens = 0.0, 0
    for turns in part:
        for n in range(1, len(turns)):
            rows = DialogueRows.of([turns[: n + 1]], model.text, 60)
            for some, numbers in rows.by_length(100):
                with torch.no_grad():
                    p = model(*some).bound.log_likelihood[0]
                if n >= 3:
                    nll -= p[numbers.index(n)].item()
                    tokens += len(model.text.split(turns[n])) + 1
    assert judgement.perplexity(3) == pytest.approx(math.exp(nll / tokens), rel=1e-5)
    assert judgement.replies == sum(len(turns) - 1 for turns in part)


def test_the_latent_variable_costs_what_its_weight_says(talks):
    experiment = setting(
        talks, model="vhred", annealing=0.5, free_bits=0.0, bag_of_words=0.0, epochs=2.0, updates=0
    )
    batches = training_batches(experiment)
    first = next(batches)
    assert first[-1] == 0
    model = experiment.model().train()
    torch.manual_seed(0)
    plain = experiment.measure(model, first)
    torch.manual_seed(0)
    held = experiment.measure(model, (*first[:-1], torch.tensor(2.0)))
    tokens = int((first[3] == 0).sum()) * experiment.data.rows.mean_tokens
    replies = int(first[4].sum())
    assert plain["kl"] == held["kl"]
    assert plain["kl"] > 0
    gained = (held["loss"] - plain["loss"]).item()
    assert gained == pytest.approx(2 * replies * plain["kl"].item() / tokens, rel=1e-4)


@pytest.mark.long
def test_a_conversation_follows_the_context(runs, monkeypatch, capsys, tmp_path):
    run, lines = str(runs / "hred"), "i am bob\nwhat was my name ?\n/x\n/quit\nmore\n"

    def talked(*words):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
        code = cli.main(["chat", run, "--method", "beam", "--n-best", "1", *words])
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    code, out, err = talked()
    assert code == 2  # of the command that there is not
    assert "there is no /x" in err
    assert out[1] == "you are bob"
    _, out, _ = talked("--json")
    assert json.loads(out[1])["output"] == "you are bob"
    _, forgetful, _ = talked("--context", "1")
    assert forgetful[1] != out[1]


@pytest.mark.long
def test_dialogues_of_a_file_are_answered(runs, tmp_path, capsys):
    path = tmp_path / "asked.jsonl"
    path.write_text(f'["i am {NAMES[7]}", "and i see 3 dogs", "what was my name ?"]\n')
    run = str(runs / "hred")
    words = ["--method", "beam", "--n-best", "2", "--json"]
    assert cli.main(["predict", run, str(path), *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["output"] == f"you are {NAMES[7]}"
    assert len(answer["alternatives"]) == 2
    assert cli.main(["predict", run, "i am ann", "--must-hold", "fish", "--n-best", "1",
                     "--method", "beam"]) == 0  # fmt: skip
    assert "fish" in capsys.readouterr().out


@pytest.mark.long
def test_no_draw_repeats_another_in_an_answer(runs):
    experiment, model = reopen(runs / "hred")
    answer = experiment.changed({"n_best": 30}).predict(model, f"i am {NAMES[0]}")
    texts = [reply["output"] for reply in answer.alternatives]
    assert len(texts) == len({*texts}) > 1
    assert distinct([t.split() for t in texts], 1) > 0


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"attention": "dot", "choice": "marginal"}, "cannot choose .* by marginal"),
        ({"attention": "dot", "choice": "reinforce"}, "cannot choose .* by reinforce"),
        ({"attention": "dot", "coverage": True}, "leave out coverage"),
        ({"attention": "location"}, "another score than location"),
        ({"model": "seq2seq", "seen_turns": 2}, "seen_turns goes with model hred or vhred"),
        ({"attention": "none", "seen_turns": 2}, "seen_turns are those that attention looks at"),
        ({"copy_unknown": True}, "leave out copy_unknown"),
        ({"coverage_penalty": 0.1}, "leave out .* coverage_penalty"),
        ({"latent_size": 8}, "latent_size, .* are of the model vhred"),
        ({"must_hold": "a"}, "must_hold needs the method beam, got sample"),
    ],
)
def test_what_the_model_would_not_do_is_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        Conversing(**changes)


def test_the_most_probable_reply_comes_first_and_none_twice():
    replies = [
        WrittenText(text, (text,), p, p, True, (), None)
        for text, p in (("a", -1), ("b", -2), ("a", -3))
    ]
    prediction = prediction_of("hello", replies)
    assert (prediction.output, prediction.figures["log_probability"]) == ("a", -1)
    assert [each["output"] for each in prediction.alternatives] == ["a", "b"]


def test_words_are_dropped_while_it_learns_alone(talks):
    experiment = setting(talks, word_drop=0.9)
    model, batch = experiment.model(), next(training_batches(experiment))

    def losses(model):
        return {experiment.measure(model, batch)["loss"].item() for _ in range(3)}

    assert len(losses(model.train())) == 3
    assert len(losses(model.eval())) == 1


def test_what_cannot_be_written_and_bad_vectors_are_told_before_it_learns(talks, tmp_path):
    with pytest.raises(InputError, match="cannot write 'xyzzy'"):
        setting(talks, method="beam", must_hold="xyzzy").describe_data()
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("no vectors\n")
    with pytest.raises(InputError, match=r"vectors\.txt"):
        setting(talks, vectors=str(vectors)).describe_data()


def test_words_that_are_cut_badly_are_told(tmp_path):
    path = tmp_path / "japanese.jsonl"
    names = ["山田", "田中", "鈴木", "佐藤", "高橋"]
    turns = [f"{a}さんは{b}さんと{i}回会いました" for i in range(20) for a in names for b in names]
    path.write_text("".join(json.dumps([turn, "はい"]) + "\n" for turn in turns))
    description = setting(path, minimum=2).describe_data()
    assert "another way to cut them, --tokens, may know more" in description
    assert "another way" not in setting(path, tokens="characters").describe_data()


@pytest.mark.long
def test_runs_are_laid_side_by_side(runs, tmp_path, capsys):
    folders = [str(runs / model) for model in ("seq2seq", "hred", "vhred")]
    assert cli.main(["compare", *folders, "--out", str(tmp_path / "compare.png")]) == 0
    assert str(tmp_path / "replies.md") in capsys.readouterr().out
    rows = (tmp_path / "replies.md").read_text().splitlines()
    assert len(rows) == 2 + 10
    assert all(row.count(" | ") == 4 for row in rows)
    assert "i am" in rows[2]
    assert (tmp_path / "turns.png").stat().st_size > 1000
    assert (runs / "vhred" / "kl.png").exists()
    assert (runs / "vhred" / "attention.png").exists()
    text = cli.main(["predict", folders[2], "i am bob", "--picture", str(tmp_path / "seen.png")])
    assert text == 0
    assert (tmp_path / "seen.png").exists()
    assert cli.main(["predict", folders[1], "i am bob", "--picture", str(tmp_path / "x.png")]) == 2


def trial(model, **figures):
    seeds = range(3)
    return Trial({"model": model}, tuple({k: v[i] for k, v in figures.items()} for i in seeds))


def test_claims_are_decided_seed_by_seed():
    context, alike, collapse = CLAIMS

    def by_turn(model, *perplexities):
        return trial(model, **{f"perplexity_at_{turn}": perplexities for turn in (2, 3, 5, 8)})

    plain = by_turn("seq2seq", 60.0, 61.0, 62.0)
    held, message = context.judge([plain, by_turn("hred", 58.0, 59.1, 60.0)])
    assert held
    assert message.startswith("lower after 2 turns by +3.2")
    assert not context.judge([plain, by_turn("hred", 58.0, 63.0, 60.0)])[0]
    manner = {"most_frequent": (0.1, 0.1, 0.1), "mean_length": (9.0, 9.0, 9.0)}
    pairs = {"hred": (0.3, 0.31, 0.3), "vhred": (0.4, 0.41, 0.41)}
    some = [trial(model, distinct_2=values, **manner) for model, values in pairs.items()]
    assert alike.judge(some)[0]
    assert not alike.judge(some[::-1])[0]
    used, unused = trial("vhred", kl=(1.5, 2.0, 3.0)), trial("vhred", kl=(0.01, 0.05, 0.0))
    assert collapse.judge([used, unused])[0]
    assert not collapse.judge([unused, unused])[0]
    assert not collapse.judge([used, used])[0]


def test_one_position_may_be_looked_at(talks):
    """With gumbel, which needs no loss of its own."""
    experiment = setting(talks, attention="dot", choice="gumbel")
    loss = experiment.measure(experiment.model().train(), next(training_batches(experiment)))[
        "loss"
    ]
    assert torch.isfinite(loss)

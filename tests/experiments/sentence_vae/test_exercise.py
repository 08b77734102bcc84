"""Sentences become codes, and codes sentences."""

import gzip
import itertools
import json
import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from batches import training_batches
from commands import saiki
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.sentence_vae.codes import measure_sentences, reconstruction_accuracy
from saiki.experiments.sentence_vae.exercise import SentenceCodes
from saiki.runs.reopen import reopen
from saiki.text.vocabulary import BEGIN, END
from tiny import SMALL, TINY, book

FIGURES = {"elbo", "nll", "kl", "active_units", "perplexity", "reconstruction_accuracy"}
SIZES = (
    "--hidden-size 32 --embedding-size 16 --dropout 0 --learning-rate 0.02 --batch-size 64 "
    "--epochs 30 --log-every 90"
)
WHO = ("cat", "dog", "king", "queen", "child", "boy", "ant", "poet")
WHAT = ("saw", "met", "left")


def setting(folder, **changes):
    return SentenceCodes(**TINY["sentence-vae"].values(folder, **changes))


def stories(folder):
    """Sentences that two of their words say all of."""
    path = folder / "stories.txt"
    endings = (".", ", no doubt .")
    lines = [f"the {a} {b} a {c} {end}" for a in WHO for b in WHAT for c in WHO for end in endings]
    path.write_text("\n".join([*lines, "", *lines[:5]]) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run that has learned to use its code."""
    folder = tmp_path_factory.mktemp("sentence-vae")
    torch.set_num_threads(1)
    words = f"--data {stories(folder)} {SIZES} --latent-size 4 --beta 0.2 --word-dropout 1 "
    words += "--free-bits 0 --nll-samples 20"
    assert saiki("run", "sentence-vae", *words.split(), "--out", folder / "run")[0] == 0
    return folder / "run"


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


@pytest.mark.long
def test_sentences_are_learned_and_come_back_from_a_code_that_is_used(trained):
    result = result_of(trained)
    assert result.keys() >= FIGURES
    assert result["kl"] > 1
    assert result["active_units"] >= 2
    assert result["reconstruction_accuracy"] > 0.6
    assert -result["elbo"] > result["nll"]
    written = {path.name for path in trained.iterdir()}
    assert written >= {"course.png", "codes.png", "loss.png", "sentences.md"}
    table = (trained / "sentences.md").read_text()
    assert "| drawn word by word | the most probable |" in table
    assert table.count("| written |") == 3
    assert "<unk>" not in table


@pytest.mark.long
def test_perplexity_is_of_a_token_of_the_sentences_that_nll_is_of(trained):
    experiment, model = reopen(trained)
    result, test = result_of(trained), experiment.data.parts.test
    tokens = sum(len(row) for row in test.rows())
    assert result["perplexity"] == pytest.approx(math.exp(result["nll"] * len(test) / tokens))
    some = experiment.changed({"nll_sentences": 3}).evaluate(model)
    assert some["elbo"] == pytest.approx(result["elbo"])
    assert some["nll"] != result["nll"]


def test_a_batch_of_sentences_counts_as_much_as_each_alone(trained):
    experiment, model = reopen(trained)
    test = experiment.data.parts.test
    measures = measure_sentences(model, test)
    for i, row in enumerate(itertools.islice(test.rows(), 8)):
        alone = model.model.posterior(torch.from_numpy(row.astype(int))[None])
        np.testing.assert_allclose(alone.mean[0].detach(), measures.codes[i], atol=1e-5)
        divergence = alone.divergence()[0].detach()
        np.testing.assert_allclose(divergence, measures.divergences[i], rtol=1e-4, atol=1e-5)
    z = measures.codes[None].float()
    rows = [torch.from_numpy(row.astype(int))[None] for row in test.rows()]
    lengths = torch.tensor([row.shape[1] for row in rows])
    table = torch.full((len(rows), int(lengths.max())), 1)
    for line, row in zip(table, rows, strict=True):
        line[: row.shape[1]] = row[0]
    with torch.no_grad():
        together = model.model.log_likelihood(table, z, lengths)[0]
        each = [model.model.log_likelihood(r, z[:, i : i + 1])[0, 0] for i, r in enumerate(rows)]
    torch.testing.assert_close(together, torch.stack(each))
    assert len({*lengths.tolist()}) > 1


def test_what_comes_back_is_counted_by_places(trained):
    experiment, model = reopen(trained)
    test = experiment.data.parts.test
    codes = measure_sentences(model, test).codes
    right = total = 0
    for row, z in zip(test.rows(), codes, strict=True):
        [[best]] = model.write(z[None].float(), limit=int(test.lengths.max()) - 1)
        back = [*best.tokens, *[END] * best.finished]
        right += sum(a == b for a, b in zip(row.tolist(), back, strict=False))
        total += len(row)
    assert reconstruction_accuracy(model, test, codes) == pytest.approx(right / total)
    assert result_of(trained)["reconstruction_accuracy"] == pytest.approx(right / total)


@pytest.mark.long
def test_a_language_model_of_the_same_decoder_is_one_knob_away(trained, tmp_path):
    more = ["--preset", "plain", "--data", stories(tmp_path), "--out", tmp_path / "run"]
    assert saiki("run", "sentence-vae", *SIZES.split(), *more)[0] == 0
    result = result_of(tmp_path / "run")
    assert result["kl"] == result["active_units"] == 0
    assert result["nll"] == pytest.approx(-result["elbo"])
    assert result["reconstruction_accuracy"] < result_of(trained)["reconstruction_accuracy"] - 0.1
    assert not (tmp_path / "run" / "course.png").exists()
    assert "| drawn word by word |\n" in (tmp_path / "run" / "sentences.md").read_text()
    experiment, model = reopen(tmp_path / "run")
    assert set(experiment.exported(model)) == {"decoder"}
    assert "KL" not in experiment.equations()
    answer = experiment.predict(model, "the cat saw a dog .")
    assert answer.figures["code"] == []
    tokens, _ = model.read("the cat saw a dog .")
    p = model.model.log_likelihood(tokens, torch.zeros(1, 1, 0))
    assert answer.figures["log_probability"] == pytest.approx(p.item())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent_size": 0, "beta": 2.0}, "beta is of a code"),
        ({"latent_size": 0, "annealing": 0.1}, "annealing is of a code"),
        ({"latent_size": 0, "bidirectional": False}, "bidirectional is of a code"),
        ({"latent_size": 0, "between": 2}, "between is of a code"),
        ({"copy_unknown": True}, "leave out copy_unknown"),
        ({"coverage_penalty": 0.1}, "leave out copy_unknown and coverage_penalty"),
        ({"language": "ja"}, "language is of small_parallel_enja"),
        ({"method": "greedy", "n_best": 2}, "n_best"),
    ],
)
def test_knobs_that_do_not_fit_each_other_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        setting(tmp_path, nll_samples=50, **changes)


def test_the_loss_is_its_two_parts_weighed(tmp_path):
    for changes in ({}, {"beta": 3.0, "annealing": 0.0}, {"annealing": 1.0, "accumulate": 2}):
        experiment = setting(tmp_path, free_bits=0.0, **changes)
        for batch in itertools.islice(training_batches(experiment), 3):
            measures = experiment.measure(experiment.model().eval(), batch)
            wanted = measures["reconstruction"] + batch[2] * measures["kl"]
            torch.testing.assert_close(measures["loss"].detach(), wanted)


def test_the_weight_of_the_divergence_rises_over_the_training(tmp_path):
    experiment = setting(tmp_path, annealing=0.5, beta=2.0, accumulate=2, batch_size=16)
    weights = [weight.item() for *_, weight in itertools.islice(training_batches(experiment), 8)]
    half = experiment.iterations / 2
    assert weights == pytest.approx([2 * min(1, (i // 2) / half) for i in range(8)])


@pytest.mark.long
@pytest.mark.parametrize(
    "changes",
    [
        {"cell": "peephole", "layers": 2, "bidirectional": False},
        {"cell": "rnn", "free_bits": 0.1, "cycles": 2, "tokens": "words"},
        {"latent_size": 0, "nll_samples": 50, "layers": 2, "tokens": "characters", "longest": 60},
        {"precision": "float64", "dropout": 0.5, "lines": False},
    ],
)
def test_every_cell_and_objective_trains(tmp_path, changes):
    experiment = setting(tmp_path, **changes)
    model = experiment.model().to(experiment.dtype)
    for batch in itertools.islice(training_batches(experiment), 2):
        measured = experiment.measure(model, batch)
        measured["loss"].backward()
        assert all(torch.isfinite(value) for value in measured.values())
    assert all(p.grad is not None for p in model.parameters())
    figures = experiment.evaluate(model.eval())
    assert figures.keys() == FIGURES
    assert all(math.isfinite(value) for value in figures.values())


def test_a_sentence_is_answered_with_what_comes_back_its_code_and_its_bound(trained):
    code, out, err = saiki("predict", trained, "The king saw a dog.", "--json")
    assert (code, err) == (0, [])
    answer = json.loads(out[0])
    assert answer["input"] == "The king saw a dog."
    assert answer["output"].startswith("the ")
    assert answer["alternatives"] == []
    assert len(answer["code"]) == 4
    assert answer["unknown"] == []
    model = reopen(trained)[1]
    tokens, _ = model.read("The king saw a dog.")
    bounds = [
        model.judge(tokens, None, 20, torch.Generator().manual_seed(seed)).importance_weighted
        for seed in range(30)
    ]
    assert answer["log_probability"] == pytest.approx(torch.cat(bounds).mean().item(), abs=1.5)
    each = math.exp(-answer["log_probability"] / tokens.shape[1])
    assert answer["perplexity"] == pytest.approx(each)


def test_lines_are_answered_as_each_alone_and_empty_ones_are_named(trained, tmp_path):
    lines = ["the king saw a dog .", "", "a zebra left", "the boy met a queen , no doubt ."]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n")
    code, out, err = saiki("predict", trained, tmp_path / "lines.txt", "--json")
    assert code == 2
    assert "there is nothing to read in ''" in err[0]
    assert "unknown to the model: zebra" in err[1]
    answers = [json.loads(line) for line in out]
    assert [answer["input"] for answer in answers] == [line for line in lines if line]
    for answer in answers:
        _, alone, _ = saiki("predict", trained, answer["input"], "--json")
        assert {**json.loads(alone[0]), "seconds": 0} == {**answer, "seconds": 0}


def test_a_sentence_longer_than_any_that_was_learned_from_is_read(trained):
    long = " ".join(["the king saw a dog and"] * 30)
    experiment, model = reopen(trained)
    answer = experiment.predict(model, long)
    assert math.isfinite(answer.figures["log_probability"])
    [[free]] = model.write(torch.zeros(1, 4), limit=3)
    assert len(free.tokens) <= 3


def test_between_two_sentences_are_the_sentences_of_codes_between_theirs(trained):
    pair = "the king saw a dog . | the boy met a queen , no doubt ."
    code, lines, _ = saiki("predict", trained, pair, "--between", "3")
    assert code == 0
    assert len(lines) == 5
    experiment, model = reopen(trained)
    ends = [experiment.predict(model, text).output for text in pair.split(" | ")]
    assert [lines[0], lines[-1]] == ends
    codes = [model.model.posterior(model.read(text)[0]).mean for text in pair.split(" | ")]
    [[middle]] = model.write((codes[0] + codes[1]) / 2)
    assert lines[2] == middle.text
    three = experiment.predict(model, f"{pair} | the cat left a boy .")
    assert len(three.output) == 2 * (experiment.between + 1) + 1
    assert len(three.figures["code"]) == 3


def test_what_is_written_is_asked_for_by_the_knobs_of_decoding(trained):
    flags = ["--method", "beam", "--n-best", "3", "--begin-with", "the", "--must-hold", "queen"]
    code, out, _ = saiki("predict", trained, "the king saw a dog .", "--json", *flags)
    assert code == 0
    answer = json.loads(out[0])
    every = [answer["output"], *answer["alternatives"]]
    assert len({*every}) == 3
    assert all(text.startswith("the ") and "queen" in text for text in every)
    outputs = [
        saiki("predict", trained, "a zebra", "--method", "sample", "--seed", seed, "--json")[1]
        for seed in ("1", "1", "2")
    ]
    first, repeated, other = (json.loads(text)["output"] for [text] in outputs)
    assert first == repeated
    assert other != first


def test_japanese_without_spaces_is_cut_into_characters_and_comes_back(tmp_path):
    things, colours = ("犬", "猫", "本", "机", "箱", "花"), ("赤い", "白い", "青い")
    lines = [
        f"{a}{b}と{c}{d}が{e}。" for a in colours for b in things for c in colours for d in things
        for e in ("ある", "見える")
    ]  # fmt: skip
    (tmp_path / "ja").mkdir()
    with gzip.open(tmp_path / "ja" / "a.txt.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(lines[:400]))
    (tmp_path / "ja" / "b.txt").write_text("\n".join(lines[400:]), encoding="utf-8")
    experiment = SentenceCodes(
        **SMALL, data=str(tmp_path / "ja"), epochs=1.0, updates=0, latent_size=2
    )
    assert experiment.data.cut == "characters"
    assert "tokens (characters)" in experiment.describe_data()
    assert len(experiment.data.parts.train) > 500
    model = experiment.model().eval()
    answer = experiment.predict(model, "赤い犬と白い猫がある。")
    assert answer.unknown == []
    assert " " not in answer.output
    assert experiment.predict(model, "黒い犬").unknown == ["黒"]


def test_english_of_a_users_own_is_cut_as_a_book_prints_it(tmp_path):
    assert setting(tmp_path).data.cut == "plain"
    words = setting(tmp_path, tokens="words").data
    assert words.cut == "words"
    assert any(word.endswith(".") and len(word) > 1 for word in words.text.vocabulary.words)
    whole, ruled = setting(tmp_path).data.sentences, setting(tmp_path, lines=False).data.sentences
    assert whole == ruled  # a line is a sentence there
    (tmp_path / "page.txt").write_text(
        " ".join(Path(book(tmp_path)).read_text().splitlines()) + "\n"
    )
    changes = {"data": str(tmp_path / "page.txt"), "lines": False}
    assert setting(tmp_path, **changes).data.sentences == whole


def test_the_parts_that_are_exported_write_what_the_model_writes(trained, tmp_path):
    assert saiki("export", trained, "--onnx", tmp_path / "m.onnx")[0] == 0
    encoder, start, decoder = (
        onnxruntime.InferenceSession(tmp_path / f"m.{part}.onnx")
        for part in ("encoder", "start", "decoder")
    )
    experiment, model = reopen(trained)
    about = encoder.get_modelmeta().custom_metadata_map
    assert json.loads(about["words"]) == list(model.text.vocabulary.words)
    tokens, _ = model.read("the king saw a dog .")
    names = [each.name for each in encoder.get_inputs()]
    inputs = dict(zip(names, (tokens.numpy(), np.array([tokens.shape[1]])), strict=True))
    code, _ = encoder.run(None, inputs)
    state = start.run(None, {start.get_inputs()[0].name: code})
    written, token = [], np.array([BEGIN])
    names = [each.name for each in decoder.get_inputs()]
    while len(written) < 40:
        p, *state = decoder.run(None, dict(zip(names, (token, *state, code), strict=True)))
        token = p.argmax(1)
        if token[0] == END:
            break
        written.append(int(token[0]))
    assert model.text.decode(written) == experiment.predict(model, "the king saw a dog .").output


def decide(number, *figures):
    """The verdict of a claim on trials whose figures are these, a list for each seed."""
    trials = [
        Trial(
            {},
            tuple(
                dict(zip(values, seed, strict=True)) for seed in zip(*values.values(), strict=True)
            ),
        )
        for values in figures
    ]
    return SentenceCodes.claims[number].judge(trials)[0]


def test_claims_hold_where_figures_say_so_in_every_seed_or_by_more_than_chance():
    used, free = {"kl": [3.0, 4.0, 3.5]}, {"kl": [0.01, 0.02, 0.03]}
    assert decide(0, used, free)
    assert not decide(0, used, {"kl": [0.01, 0.2, 0.03]})
    assert not decide(0, {"kl": [3.0, 0.9, 3.5]}, free)
    little, much = (
        {"reconstruction_accuracy": values} for values in ([0.1, 0.1, 0.11], [0.3, 0.31, 0.3])
    )
    assert decide(1, little, much)
    assert not decide(1, much, little)
    plain = {"perplexity": [30.0, 30.2, 29.8]}
    assert decide(2, plain, {"perplexity": [30.5, 30.6, 30.3]})
    assert not decide(2, plain, {"perplexity": [34.0, 34.4, 33.7]})
    assert not decide(2, plain, {"perplexity": [31.6, 31.5, 31.2]})

"""Masked words in a made-up language: what is hidden, what is learned, and every figure by hand."""

import json
import math
import shutil
from collections import Counter

import numpy as np
import pytest
import torch

from batches import some
from commands import flags, refusal
from saiki import cli, processes
from saiki.cells import LSTM
from saiki.data.text import hidden_words
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.masked_lm import MaskedLanguage
from saiki.layers.bidirectional import Bidirectional
from saiki.models.encoder import Encoder
from saiki.runs.reopen import reopen
from saiki.text import END, MASK, PAD, UNKNOWN, Vocabulary

pytestmark = pytest.mark.one_in(2)

NAMES = ["ann", "bob", "cleo", "dan", "eve", "finn"]
VERBS = ["sees", "hears", "knows"]
WHEN = ["now", "then", "often", "once"]
SMALL = {
    "vocabulary": 0,
    "minimum": 1,
    "hidden_size": 64,
    "embedding_size": 32,
    "dropout": 0.0,
    "share": 0.3,
    "batch_size": 16,
    "learning_rate": 0.02,
    "iterations": 300,
    "log_every": 100,
    "device": "cpu",
}


def sentence(random):
    """A name comes twice, and the number goes with the verb."""
    name, pair = random.choice(NAMES), random.integers(len(VERBS))
    other = random.choice([n for n in NAMES if n != name])
    first, last = random.choice(WHEN, 2)
    return f"{first} {name} and {name} {VERBS[pair]} {pair} {other} {last}."


@pytest.fixture(scope="module")
def novel(tmp_path_factory):
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("text") / "novel.txt"
    lines = (" ".join(sentence(random).capitalize() for _ in range(10)) for _ in range(80))
    path.write_text("\n\n".join(lines) + "\n\nQuite another line at the end.\n", encoding="utf-8")
    return path


def setting(data, **changes):
    return MaskedLanguage(**{**SMALL, "data": str(data), **changes})


def corpus(data, **changes):
    return setting(data, **changes).data.corpus


def same(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(a, b, strict=True))


# The text.


def test_no_sentence_is_both_learned_from_and_kept_apart(novel):
    text, train, held = corpus(novel)
    learned = {tuple(row.tolist()) for row in train.rows()}
    apart = [tuple(row.tolist()) for row in held.rows()]
    assert apart
    assert not learned & set(apart)
    # one section of 40 was kept apart; those of its sentences that come again are left out
    assert len(train) == 801 - 40
    assert len(apart) < 40
    assert text.vocabulary.ids(["quite"]) != [UNKNOWN]


def test_only_what_is_learned_from_makes_the_vocabulary(tmp_path):
    path = tmp_path / "lines.txt"
    # sentence 30 of 60 is in the one section that is kept apart
    path.write_text(
        "\n".join("unseen word" if i == 30 else f"word {i % 7} seen" for i in range(60))
    )
    text, _, held = corpus(path, lines=True, tokens="words")
    assert "seen" in text.vocabulary
    assert "unseen" not in text.vocabulary
    assert [row.tolist() for row in held.rows()] == [[UNKNOWN, *text.encode("word"), END]]


def test_long_sentences_are_cut_and_nothing_is_lost(novel):
    whole, cut = setting(novel).data.corpus.train, setting(novel, longest=7).data.corpus.train
    assert max(cut.lengths) == 8
    words = [tokens[tokens != END].tolist() for tokens in (whole.tokens, cut.tokens)]
    assert words[0] == words[1]


def test_some_sentences_are_spread_over_the_whole_text(novel):
    few, all_ = setting(novel, sentences=50), setting(novel)
    assert len(few.data.corpus.train) == 50
    # the last sentence of the text is the last one of these
    text, train, _ = few.data.corpus
    assert text.decode([*train.rows()][-1].tolist()).startswith("quite")
    assert len(setting(novel, sentences=5_000).data.corpus.train) == len(all_.data.corpus.train)


@pytest.mark.parametrize("tokens", ["words", "characters", "bpe", "japanese"])
def test_every_tokeniser_serves(tokens, tmp_path):
    if tokens in ("bpe", "japanese"):
        pytest.importorskip({"bpe": "tokenizers", "japanese": "sudachipy"}[tokens])
    path = tmp_path / "text.txt"
    space = " " if tokens == "words" else ""
    words = ["番目", "の", "猫", "は", "マット", "の", "上", "に", "座っ", "た", "。"]
    path.write_text("".join(space.join([f"\n{i}", *words]) for i in range(60)))
    experiment = setting(path, tokens=tokens, vocabulary=400)
    model = experiment.model()
    assert len(experiment.data.corpus.train) == 57
    words[4] = "[MASK]"
    answer = experiment.predict(model, space.join(words[2:]))
    assert answer.output.startswith(space.join(["猫", "は", ""]))
    assert answer.output.endswith(space.join(["", "の", "上", "に", "座っ", "た", "。"]))
    assert experiment.describe_data()


@pytest.mark.parametrize("text", ["", " \n\n ", "One sentence.", "Two. Three."])
def test_a_text_without_enough_is_refused(text, tmp_path):
    path = tmp_path / "short.txt"
    path.write_text(text)
    assert "short.txt is too short: it has no sentence to " in refusal(setting(path).describe_data)


def test_knobs_that_do_not_fit_are_refused_in_a_sentence(tmp_path):
    assert refusal(lambda: MaskedLanguage(replaced=0.6, kept=0.5)) == (
        "replaced and kept are shares of the same words and must not exceed 1 together, "
        "got 0.6 and 0.5"
    )
    assert refusal(lambda: MaskedLanguage(hidden_size=7)).startswith("hidden_size must be even")
    assert MaskedLanguage(hidden_size=7, bidirectional=False)
    assert "does not exist" in refusal(setting(tmp_path / "gone.txt").describe_data)
    for name, value in (("share", 1.5), ("tokens", "syllables"), ("cell", "x"), ("layers", 0)):
        assert refusal(lambda n=name, v=value: MaskedLanguage(**{n: v})).startswith(f"{name} must")


# What is hidden.


def test_batches_show_the_text_but_for_the_words_to_be_restored(novel):
    experiment = setting(novel, replaced=0.2, kept=0.2)
    learned = Counter(tuple(row.tolist()) for row in experiment.data.corpus.train.rows())
    seen, kinds = Counter(), Counter()
    epoch = -(-len(experiment.data.corpus.train) // 16)
    for tokens, lengths, chosen, words in some(experiment, epoch):
        original = tokens.clone()
        original[chosen] = words + MASK + 1
        for row, length, places in zip(original, lengths.tolist(), chosen, strict=True):
            assert row[length - 1] == END
            assert (row[length:] == PAD).all()
            assert places.any()
            assert not places[length - 1 :].any()
            seen[tuple(row[:length].tolist())] += 1
        shown = tokens[chosen]
        kinds["masked"] += int((shown == MASK).sum())
        kinds["kept"] += int((shown == words + MASK + 1).sum())
        kinds["all"] += len(words)
    assert set(seen) == set(learned)
    known = len(experiment.data.corpus.text.vocabulary) - MASK - 1
    share = kinds["all"] / sum((len(row) - 1) * n for row, n in seen.items())
    assert share == pytest.approx(0.3, abs=0.04)
    assert kinds["masked"] / kinds["all"] == pytest.approx(0.6, abs=0.05)
    assert kinds["kept"] / kinds["all"] == pytest.approx(0.2 + 0.2 / known, abs=0.05)


def test_two_processes_share_what_one_would_have(novel, monkeypatch):
    whole = some(setting(novel, batch_size=16), 3)
    monkeypatch.setattr(processes, "count", lambda: 2)
    for rank, part in enumerate((slice(0, 8), slice(8, 16))):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        for mine, (tokens, lengths, chosen, words) in zip(
            some(setting(novel, batch_size=8), 3), whole, strict=True
        ):
            longest = int(lengths[part].max())
            assert torch.equal(mine[0], tokens[part, :longest])
            assert torch.equal(mine[1], lengths[part])
            assert torch.equal(mine[2], chosen[part, :longest])
            before = int(chosen[: part.start].sum())
            assert torch.equal(mine[3], words[before : before + int(chosen[part].sum())])


def test_what_is_measured_is_hidden_always_and_at_the_same_places(novel):
    others = {"seed": 7, "bidirectional": False, "share": 0.9, "replaced": 0.5}
    one, other = setting(novel), setting(novel, **others)
    ours = list(one.data.kept_apart())
    same(ours, list(other.data.kept_apart()))
    for tokens, _, chosen, _ in ours:
        assert (tokens[chosen] == MASK).all()
        assert not (tokens[~chosen] == MASK).any()


# Figures.


def by_hand(experiment, model):
    """ln p of each hidden word, and whether it is the best, row by row."""
    hidden = []
    for tokens, lengths, chosen, words in experiment.data.kept_apart():
        wanted = iter(words.tolist())
        for row, length, places in zip(tokens, lengths, chosen, strict=True):
            with torch.no_grad():
                p = model(row[None, : int(length)], length[None])[0].softmax(-1)
            for t in places.nonzero()[:, 0].tolist():
                word = next(wanted)
                hidden.append((math.log(p[t, word]), int(p[t].argmax()) == word))
    return hidden


def test_the_figures_are_those_of_the_hidden_words(novel):
    experiment = setting(novel, share=0.4)
    torch.manual_seed(2)
    model = experiment.model().eval()
    with torch.no_grad():
        model.bias.normal_()
    by_loops = by_hand(experiment, model)
    loss = -sum(value for value, _ in by_loops) / len(by_loops)
    accuracy = sum(right for _, right in by_loops) / len(by_loops)
    point, figures = experiment.monitor(model), experiment.evaluate(model)
    assert point["validation_loss"] == pytest.approx(loss, rel=1e-5)
    assert point["dev_perplexity"] == figures["dev_perplexity"]
    assert figures["dev_perplexity"] == pytest.approx(math.exp(loss), rel=1e-4)
    assert point["validation_accuracy"] == pytest.approx(accuracy)
    assert figures["dev_accuracy"] == pytest.approx(accuracy)
    assert figures["dev_words"] == len(by_loops)


def test_the_unigram_model_counts_words(novel):
    experiment = setting(novel, vocabulary=15)
    text, train = experiment.data.corpus.text, experiment.data.corpus.train
    counts = Counter(int(i) for i in train.tokens if i > MASK)
    total = sum(counts.values()) + len(text.vocabulary) - MASK - 1
    best = max(counts, key=counts.__getitem__)
    words = [int(i) for b in experiment.data.kept_apart() for i in b[3] + MASK + 1]
    assert UNKNOWN not in words
    loss = -sum(math.log((counts[w] + 1) / total) for w in words) / len(words)
    assert experiment.data.unigram["unigram_perplexity"] == pytest.approx(math.exp(loss))
    assert experiment.data.unigram["unigram_accuracy"] == pytest.approx(
        sum(w == best for w in words) / len(words)
    )


def test_what_is_lowered_is_the_mean_over_the_words_of_a_batch(novel):
    experiment = setting(novel)
    model, batch = experiment.model().train(), some(experiment, 1)[0]
    with torch.no_grad():
        measures = experiment.measure(model, batch)
        p = model(*batch[:2])[batch[2]].softmax(-1)
    right = p.gather(1, batch[3][:, None])
    assert measures["loss"].item() == pytest.approx(-right.log().mean().item(), rel=1e-5)
    accuracy = (p.argmax(1) == batch[3]).float().mean().item()
    assert measures["accuracy"].item() == pytest.approx(accuracy)


def test_a_share_is_not_rounded_to_the_precision_of_the_products(novel):
    experiment = setting(novel, precision="bfloat16")
    model, batch = experiment.model().train(), some(experiment, 1)[0]
    with torch.autocast("cpu", torch.bfloat16):
        v = model(*batch[:3])
        accuracy = experiment.measure(model, batch)["accuracy"]
    assert v.dtype == torch.bfloat16
    assert accuracy.item() == (v.argmax(1) == batch[3]).float().mean().item()


# Learning.


@pytest.fixture(scope="module")
def runs(novel, tmp_path_factory):
    """Run folders of two directions and of one, by the command line."""
    torch.set_num_threads(1)
    folders = {}
    for both in ("true", "false"):
        out = tmp_path_factory.mktemp("runs") / both
        values = {**SMALL, "data": novel, "bidirectional": both, "out": out}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hidden_words, "HELD_SHARE", 0.3)  # 15 % would be 26 words
            assert cli.main(["run", "masked-lm", *flags(**values)]) == 0
        folders[both] = out
    return folders


@pytest.mark.long
def test_two_directions_restore_what_one_cannot(runs):
    two, one = (json.loads((runs[b] / "result.json").read_text()) for b in ("true", "false"))
    assert two["stopped"] is one["stopped"] is None
    assert two["unigram_perplexity"] == one["unigram_perplexity"]
    assert two["dev_perplexity"] < 0.92 * one["dev_perplexity"]
    assert one["dev_perplexity"] < 0.5 * one["unigram_perplexity"]
    assert two["dev_accuracy"] > one["dev_accuracy"] > one["unigram_accuracy"]


def test_the_trained_model_answers_without_its_text(runs, novel, tmp_path, capsys):
    folder = shutil.copytree(runs["true"], tmp_path / "run")
    experiment, model = reopen(folder)
    first, both = (
        "Then [MASK] and eve sees 0 bob now.",
        "Now eve and eve [MASK] 1 bob once [MASK]",
    )
    capsys.readouterr()
    assert cli.main(["predict", str(folder), first, both, "no word is hidden", "--json"]) == 2
    out, err = capsys.readouterr()
    answers = [json.loads(line) for line in out.splitlines()]
    assert [a["input"] for a in answers] == [first, both]
    assert answers[0]["output"] == "Then eve and eve sees 0 bob now."
    assert answers[1]["output"] == "Now eve and eve hears 1 bob once ."
    [candidates] = answers[0]["candidates"]
    assert len(candidates) == 5
    assert candidates[0]["word"] == "eve"
    assert [c["probability"] for c in candidates] == sorted(
        (c["probability"] for c in candidates), reverse=True
    )
    assert "write [MASK] in the place of each word" in err
    assert "corpus" not in vars(experiment.data)
    answer = experiment.predict(model, both.replace("bob", "zoe"))
    lines = answer.text.splitlines()
    assert len(lines) == 1 + 2 * 6
    assert lines[0].startswith("Now eve and eve ")
    assert lines[1] == "[MASK] 1"
    assert answer.unknown == ("zoe",)


def test_many_are_answered_around_one_that_cannot_be(runs):
    experiment, model = reopen(runs["true"])
    texts = ["ann sees [MASK]", "nothing", "[MASK] knows"]
    answers = experiment.predict_all(model, texts)
    assert [isinstance(a, InputError) for a in answers] == [False, True, False]
    assert answers[2].output.endswith(" knows")
    with pytest.raises(InputError, match="write"):
        experiment.predict(model, "nothing")
    assert experiment.predict_all(model, []) == []


def test_what_is_said_of_the_text_and_of_the_model(runs):
    experiment, model = reopen(runs["true"])
    opening = experiment.describe_data()
    assert "761 sentences to learn from" in opening
    assert f"{experiment.data.unigram['unigram_perplexity']:.1f}" in opening
    lines = experiment.describe_model(model).splitlines()
    assert len(lines) == 6
    assert all("[MASK]" in line and " → " in line for line in lines)
    assert sum(", not " not in line for line in lines) > 1
    assert experiment.sample(model) == lines[0]


def test_an_encoder_begins_with_what_the_run_has_learned(runs):
    _, model = reopen(runs["true"])
    vocabulary = Vocabulary(["bob", "ann", "whale"])
    encoder = Encoder(len(vocabulary), 32, Bidirectional(LSTM(32, 32))).eval()
    assert model.hand_over(encoder, vocabulary) == 2
    ours = torch.tensor([[*vocabulary.ids(["ann", "bob"]), END]])
    theirs = torch.tensor([[*model.text.encode("ann bob"), END]])
    lengths = torch.tensor([3])
    assert torch.equal(encoder(ours, lengths)[0], model.encoder(theirs, lengths)[0])


def test_the_export_says_what_its_numbers_mean(runs, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = tmp_path / "model.onnx"
    assert cli.main(["export", str(runs["true"]), "--onnx", str(path)]) == 0
    session = onnxruntime.InferenceSession(path)
    about = session.get_modelmeta().custom_metadata_map
    words, first = json.loads(about["words"]), int(about["first_word"])
    assert json.loads(about["tokeniser"])["class"] == "plain_words.v1"
    text = "then [MASK] and eve sees 0 bob now ."
    tokens = [[*map(words.index, text.split()), words.index("</s>")]]
    inputs = (np.array(tokens), np.array([len(tokens[0])]))
    names = [node.name for node in session.get_inputs()]
    (v,) = session.run(None, dict(zip(names, inputs, strict=True)))
    _, model = reopen(runs["true"])
    [wanted] = model.restore([text])
    assert words[first + v[0, 1].argmax()] == wanted.candidates[0][0][0]


# What is said.


def trial(perplexities, unigram=100.0):
    return Trial(
        {}, tuple({"dev_perplexity": p, "unigram_perplexity": unigram} for p in perplexities)
    )


@pytest.mark.parametrize(
    ("both", "one", "held"),
    [
        ([20.0, 30.0], [40.0, 35.0], True),
        ([20.0, 36.0], [40.0, 35.0], False),
        ([20.0, 30.0], [40.0, 101.0], False),
        ([20.0, None], [40.0, 35.0], False),
        ([20.0, 30.0], [40.0, None], False),
    ],
)
def test_the_claim_is_held_by_every_seed_or_not_at_all(both, one, held):
    [claim] = MaskedLanguage.claims
    verdict, figures = claim.judge([trial(both), trial(one)])
    assert verdict is held
    assert "unigram model 100.0" in figures


@pytest.mark.parametrize("preset", MaskedLanguage.presets)
def test_the_equations_tell_the_settings(preset):
    two = MaskedLanguage.from_dict(MaskedLanguage.preset(preset))
    assert "15% of them chosen: of these 80% [MASK], 10% any word, 10% as" in two.equations()
    assert "y = (h→, h←), LSTM of " in two.equations()
    one = MaskedLanguage(bidirectional=False, layers=2, tied=False, cell="peephole")
    assert "y = h→, LSTM of 512 units over x" in one.equations()
    assert "p_f ∘ c" in one.equations()
    assert "softmax(U yᵗ + b)" in one.equations()

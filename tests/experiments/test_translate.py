"""The translation exercise on a language of our own, from its files to its answers."""

import io
import json
import sys

import numpy as np
import pytest
import torch

from batches import some, training_batches
from commands import flags
from saiki import cli
from saiki.decoding.decode import Search
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.groups import text_to_text
from saiki.experiments.translate import Translate
from saiki.metrics.bleu import CLASSES
from saiki.runs.folder import RunFolder
from saiki.runs.record import Options
from saiki.runs.reopen import reopen
from saiki.runs.run import _evaluated, run
from saiki.saving.pretrained import of_run
from saiki.training import Training

WORDS = {"eins": "一", "zwei": "二", "drei": "三", "vier": "四", "fünf": "五", "sechs": "六"}
SMALL = {
    "cell": "gru", "hidden_size": 32, "embedding_size": 16, "epochs": 12.0, "batch_size": 16,
    "learning_rate": 0.01, "updates": 0, "dropout": 0.0, "minimum": 1, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Numbers in words to numbers in Chinese characters, which come in the other order."""
    path = tmp_path_factory.mktemp("data") / "pairs.tsv"
    draw, names, rows = np.random.default_rng(0), list(WORDS), set()
    while len(rows) < 250:
        rows.add(tuple(draw.choice(names, draw.integers(1, 5)).tolist()))
    lines = (f"{' '.join(r)}\t{' '.join(WORDS[w] for w in reversed(r))}\n" for r in sorted(rows))
    path.write_text("".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    words = flags(data=table, source="de", target="zh", **SMALL)
    assert cli.main(["run", "translate", *words, "--out", str(folder)]) == 0
    return folder


def predict(capsys, *words):
    code = cli.main(["predict", *map(str, words)])
    out, err = capsys.readouterr()
    return code, out.splitlines(), err.splitlines()


def test_it_learns_two_columns_and_says_how_well(finished):
    result = json.loads((finished / "result.json").read_text())
    assert result["dev_bleu"] > 80
    assert result["dev_bleu_greedy"] > 80
    assert result["dev_cut"] == 0
    assert result["loss"] == RunFolder.open(finished).points()[-1]["validation_loss"]
    assert result["test_bleu"] > 60
    assert {name for name in result if "length" in name} == {
        f"dev_bleu_length_{c}" for c in CLASSES
    }
    assert result["dev_bleu_length_over_15"] is None
    points = RunFolder.open(finished).points()
    assert [point["step"] for point in points][-1] == result["iterations"]
    assert points[-1]["dev_bleu_greedy"] > points[0]["dev_bleu_greedy"]
    for picture in ("loss", "bleu", "attention"):
        assert (finished / f"{picture}.png").stat().st_size > 0


def test_it_translates_words_files_and_standard_input(finished, tmp_path, capsys, monkeypatch):
    assert predict(capsys, finished, "eins zwei", "drei") == (0, ["二 一", "三"], [])
    file = tmp_path / "text.txt"
    file.write_text("eins\n\nvier fünf\n", encoding="utf-8")
    assert predict(capsys, finished, file) == (0, ["一", "", "五 四"], [])
    stdin = io.TextIOWrapper(io.BytesIO(b"sechs\nzwei\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert predict(capsys, finished, "-", "eins") == (0, ["六", "二", "一"], [])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"eins\n\xff\n")))
    code, _, err = predict(capsys, finished, "-")
    assert code == 2
    assert "standard input is not UTF-8 in line 2" in err[0]


def test_how_it_decodes_is_chosen_when_it_is_used(finished, capsys):
    code, lines, _ = predict(capsys, finished, "eins zwei", "--n-best", 3, "--beam", 6, "--json")
    answer = json.loads(lines[0])
    assert (code, answer["input"], answer["output"]) == (0, "eins zwei", "二 一")
    assert len(answer["alternatives"]) == 3
    assert cli.main(["predict", "--beam", "6", "--n-best", "1", str(finished), "eins zwei"]) == 0
    assert capsys.readouterr().out == "二 一\n"
    assert predict(capsys, finished, "eins", "--begin-with", "五")[1][0].startswith("五")
    assert "六 三" in predict(capsys, finished, "eins", "--must-hold", "六 三")[1][0]
    alone, together = (
        json.loads(predict(capsys, finished, "eins drei", "--json", *more)[1][0])
        for more in ([], ["--also", f"{finished}, {finished}"])
    )
    assert together["output"] == alone["output"]
    assert together["log_probability"] == pytest.approx(alone["log_probability"], abs=1e-5)
    sampled = ["--method", "sample", "--temperature", 5]
    seen = {predict(capsys, finished, "eins", *sampled, "--seed", s)[1][0] for s in range(5)}
    assert len(seen) > 1
    code, _, err = predict(capsys, finished, "eins", "--beam", 2, "--n-best", 3)
    assert (code, len(err)) == (2, 1)
    assert "n_best must be at most the beam, 2, got 3" in err[0]
    with pytest.raises(SystemExit):
        cli.main(["predict", str(finished), "eins", "--epochs", "3"])


def test_other_models_are_read_once_for_all_that_is_asked(finished, monkeypatch):
    experiment, model = reopen(finished)
    experiment, read = experiment.changed({"also": str(finished)}), []
    monkeypatch.setattr(text_to_text, "of_run", lambda path: read.append(path) or of_run(path))
    for text in ("eins", "zwei"):
        experiment.predict(model, text)
    assert read == [str(finished)]


def test_bleu_is_that_of_a_known_example():
    """sacrebleu 2.6 gives 53.73 for the third, whose n-grams of 1 to 4 are 5/6, 3/5, 2/4, 1/3."""
    from types import SimpleNamespace

    from saiki.data.text.pairs import Pairs

    pairs = Pairs(["x"], ["the cat sat on the mat"])

    def bleu(text):
        return Translate(bleu="none").bleu_of(pairs, [SimpleNamespace(text=text)])

    assert bleu("the cat sat on the mat") == pytest.approx(100)
    assert bleu("dog") == 0
    assert bleu("the cat sat on a mat") == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 / 3) ** 0.25)


@pytest.mark.long
def test_right_answers_without_spaces_are_not_worth_nothing(tmp_path, capsys):
    digits, signs = "0123456789", "〇一二三四五六七八九"
    rows = [f"{n},{''.join(signs[digits.index(d)] for d in str(n))}" for n in range(200, 400)]
    (tmp_path / "numbers.csv").write_text("\n".join(["number,漢数字", *rows]), encoding="utf-8")
    words = flags(
        data=tmp_path / "numbers.csv", source="n", target="k", source_tokens="characters",
        target_tokens="characters", **{**SMALL, "epochs": 30.0},
    )  # fmt: skip
    assert cli.main(["run", "translate", *words, "--out", str(tmp_path / "run")]) == 0
    out = capsys.readouterr().out
    assert "the first row of numbers.csv, 'number' and '漢数字', taken for a header" in out
    assert "measured by BLEU of characters, and exact match" in out
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["dev_exact_match"] > 0.7
    assert result["dev_bleu"] > 80  # of n-grams of three at most
    assert {"dev_exact_match_greedy", "test_exact_match"} <= result.keys()


def test_an_exact_match_does_not_ask_for_spaces_that_no_token_has(table):
    from types import SimpleNamespace

    from saiki.data.text.pairs import Pairs

    experiment = Translate(data=str(table), source="de", target="zh", minimum=1)
    written = [SimpleNamespace(text="二 一"), SimpleNamespace(text="三")]
    assert experiment.exact_match_of(Pairs(["a", "b"], ["二  一 ", "四"]), written) == 0.5


def test_lengths_of_several_runs_are_one_picture(tmp_path):
    figures = {f"dev_bleu_length_{name}": 10.0 + i for i, name in enumerate(CLASSES)}
    shorter = {**figures, "dev_bleu_length_over_15": None}
    trials = {"with": Trial({}, (figures,)), "without": Trial({}, (shorter, figures))}
    [picture] = Translate().compare_plots(trials, tmp_path)
    assert picture.stat().st_size > 0
    assert Translate().compare_plots({"other": Trial({}, ({"loss": 1.0},))}, tmp_path) == []


def test_an_epoch_sees_each_pair_once(table):
    experiment = Translate(data=str(table), source="de", target="zh", minimum=1, batch_size=16)
    epoch = some(experiment, int(experiment.data.epoch))
    source, lengths, target, steps = epoch[0]
    assert len(source) == len(target) == len(lengths) == len(steps)
    assert sum(len(batch[0]) for batch in epoch) == len(experiment.data.corpus.train)


@pytest.mark.long
def test_every_setting_can_be_made_and_shown(table):
    known = {"data": str(table), "source": "de", "target": "zh", "minimum": 1, "hidden_size": 8}
    for changes in (
        {"attention": "none"},
        {"attention": "location"},
        {"attention": "additive", "coverage": True, "input_feeding": True},
        {"choice": "reinforce", "baseline": "self-critical"},
        {"choice": "marginal", "layers": 2, "bidirectional": False},
        {"cell": "peephole", "tied": False, "window": "local-p"},
        {"heads": 2, "attention": "scaled_dot", "teacher_forcing": 0.5},
    ):
        experiment = Translate(**known, **changes)
        model = experiment.model().train()
        loss = experiment.measure(model, next(training_batches(experiment)))["loss"]
        loss.backward()
        missing = [n for n, p in model.named_parameters() if p.grad is None]
        assert not missing, changes
        assert "softmax" in experiment.equations()
        model.eval()
        assert experiment.predict(model, "eins").input == "eins"


def test_wrong_settings_are_refused(table):
    for changes, description in (
        ({"hidden_size": 7}, "hidden_size must be even"),
        ({"attention": "none", "coverage": True}, "without attention nothing can be"),
        ({"attention": "none", "coverage_penalty": 0.1}, "without attention nothing can be"),
        ({"source": "en", "target": "en"}, "source and target must differ"),
        ({"method": "greedy", "n_best": 2}, "greedy method finds one hypothesis"),
        ({"choice": "softer"}, "choice must be one of"),
    ):
        with pytest.raises(InputError, match=description):
            Translate(**changes)
    with pytest.raises(InputError, match="does not exist"):
        _ = Translate(data=str(table.parent / "none.tsv"), source="de", target="zh").data.corpus


def test_the_greedy_figure_is_that_of_greedy_decoding(finished):
    experiment, model = reopen(finished)
    held = experiment.data.corpus.development
    written = experiment.written(model, held, Search("greedy"))
    result = RunFolder.open(finished).result
    assert experiment.bleu_of(held, written) == pytest.approx(result["dev_bleu_greedy"])


def test_few_pairs_are_seen_often_enough(table):
    few = Translate(data=str(table), source="de", target="zh", minimum=1, batch_size=64)
    assert few.data.epoch == 4
    assert (few.iterations, few.point_every) == (2000, 50)
    assert Translate(**{**few.to_dict(), "updates": 0}).iterations == 56
    assert Translate(**{**few.to_dict(), "updates": 0}).point_every == 4


def test_one_text_without_an_answer_does_not_take_those_of_others(finished, capsys):
    code, out, err = predict(capsys, finished, "eins", "\udc80", "drei")
    assert (code, out, len(err)) == (2, ["一", "三"], 1)
    assert "not valid Unicode" in err[0]
    code, _, err = predict(capsys, finished, "eins", "--begin-with", "七")
    assert code == 2
    assert "cannot write '七': it is not in its vocabulary" in err[0]


def test_what_must_be_held_makes_room_for_itself(finished, capsys):
    phrase = " ".join(WORDS.values())
    held = "|".join([phrase] * 3 + [" ".join(reversed(WORDS.values()))] * 3)
    code, out, _ = predict(capsys, finished, "eins", "--must-hold", held)
    assert code == 0
    assert phrase in out[0]


def test_a_sentence_is_sampled_alike_whatever_stands_beside_it(finished, capsys):
    words = [finished, "--method", "sample", "--temperature", 3, "--n-best", 2]
    texts = ["eins", "zwei drei", "vier"]
    _, together, _ = predict(capsys, *words, *texts)
    alone = [line for text in texts for line in predict(capsys, *words, text)[1]]
    assert together == alone


def test_a_training_that_explodes_ends_with_its_weights_and_a_sentence(table, tmp_path):
    experiment = Translate(
        data=str(table), source="de", target="zh",
        **{**SMALL, "optimiser": "sgd", "learning_rate": 1e6, "weight_decay": 1e3,
           "clip_norm": 0.0, "updates": 0, "average": 0.0},
    )  # fmt: skip
    folder = RunFolder.create("translate", tmp_path / "run")
    outcome = run(experiment, folder, None, Options())
    assert outcome.trouble
    assert not outcome.figures["dev_bleu"]
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_weights_that_are_no_numbers_are_told_and_have_no_figures(finished):
    experiment, model = reopen(finished)
    with torch.no_grad():
        model.members[0].decoder.combine.weight.fill_(np.nan)
    assert np.isnan(experiment.monitor(model)["dev_bleu_greedy"])
    assert _evaluated(experiment, model, "it exploded") is None
    with pytest.raises(InputError, match="got nan"):
        _evaluated(experiment, model, None)


@pytest.mark.long
def test_input_feeding_learns_in_mixed_precision(table):
    experiment = Translate(
        data=str(table), source="de", target="zh", precision="bfloat16", input_feeding=True,
        minimum=1, dropout=0.0, hidden_size=8, updates=3, epochs=0.01, device="cpu",
    )  # fmt: skip
    points = []
    Training(experiment, experiment.model()).run(points.append)
    assert all(np.isfinite(point.figures["loss"]) for point in points)


def test_the_run_is_found_among_words_and_flags_in_any_order(finished, capsys, tmp_path):
    wanted = predict(capsys, finished, "eins zwei", "--beam", 3)
    assert predict(capsys, "--json", finished, "eins zwei", "--beam", 3)[0] == 0
    assert predict(capsys, "--beam", 3, finished, "eins zwei")[0] in (0, 2)
    assert wanted[0] == 0
    code, _, err = predict(capsys, tmp_path / "no-run", "eins", str(tmp_path))
    assert code == 2
    assert "no-run" in err[0]


def test_a_long_text_is_no_file_and_a_missing_file_is_no_text(finished, capsys):
    code, lines, _ = predict(capsys, finished, "eins zebra " * 300, "--json")
    answer = json.loads(lines[0])
    assert (code, answer["unknown"][0]) == (0, "zebra")
    code, _, err = predict(capsys, finished, "missing.txt")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("saiki predict: there is no file missing.txt; if it is meant as a ")


def test_a_folder_is_its_texts_and_a_path_that_leads_nowhere_is_no_text(
    finished, capsys, tmp_path, monkeypatch
):
    folder = tmp_path / "texts"
    (folder / "more").mkdir(parents=True)
    (folder / "a.txt").write_text("eins\nzwei\n")
    (folder / "more" / "b.txt").write_text("drei\n")
    monkeypatch.chdir(tmp_path)
    assert predict(capsys, finished, folder, "vier") == (0, ["一", "二", "三", "四"], [])
    for wrong in ("texts/c", "textz/", "./eins", "~/zwei", "/nowhere/x", "eins.csv.gz", "x.wav"):
        code, out, err = predict(capsys, finished, "eins", wrong)
        assert (code, out, len(err)) == (2, [], 1)
        assert f"there is no file {wrong}; " in err[0]
    (tmp_path / "empty").mkdir()
    code, out, err = predict(capsys, finished, "empty")
    assert (code, out, len(err)) == (2, [], 1)
    assert "empty holds no text: no file in it is named *.txt" in err[0]
    for text in ("eins/zwei", "3/5/2024", "eins drei.txt zwei", "zwei.drei", "…", "eins: zwei/"):
        assert predict(capsys, finished, text)[0] == 0, text


def test_a_text_is_read_in_the_form_of_those_learned_from_and_what_is_unknown_is_told(
    finished, capsys
):
    wanted = predict(capsys, finished, "fünf zwei")
    assert wanted[2] == []
    assert predict(capsys, finished, "FÜNF Zwei") == wanted
    code, _, err = predict(capsys, finished, "fünf Zebras zwei", "eins", "--json")
    assert (code, err) == (
        0, ["saiki predict: unknown to the model: Zebras (in 'fünf Zebras zwei')"],
    )  # fmt: skip


def test_what_was_read_for_a_text_of_ones_own_is_drawn(finished, capsys, tmp_path, monkeypatch):
    seen = []

    def draw(path, maps):
        seen.extend(maps)
        path.write_bytes(b"picture")

    monkeypatch.setattr(text_to_text, "draw_attention", draw)
    path = tmp_path / "own.png"
    code, out, err = predict(capsys, finished, "eins zwei", "drei", "--picture", path)
    assert (code, out, err, path.read_bytes()) == (0, ["二 一", "三"], [], b"picture")
    assert [(source, target) for source, target, _ in seen] == [
        (("eins", "zwei", "</s>"), ("二", "一", "</s>")), (("drei", "</s>"), ("三", "</s>")),
    ]  # fmt: skip
    code, out, err = predict(capsys, finished, *["eins"] * 5, "--picture", path)
    assert (code, out, len(err)) == (2, [], 1)
    assert "a picture has room for 4 texts, got 5" in err[0]


def test_a_model_without_attention_has_none_to_draw(table, tmp_path):
    known = {"data": str(table), "source": "de", "target": "zh", "minimum": 1, "hidden_size": 8}
    experiment = Translate(**known, attention="none")
    with pytest.raises(InputError, match="without attention has none to draw"):
        experiment.draw_answers(experiment.model().eval(), ["eins"], tmp_path / "own.png")
    assert not (tmp_path / "own.png").exists()


def test_byte_pairs_need_no_size(table):
    experiment = Translate(
        data=str(table), source="de", target="zh", source_tokens="bpe", target_tokens="characters"
    )
    source, target = experiment.data.texts
    assert source.decode(source.encode("zwei neue")) == "zwei neue"
    assert target.split("一 二") == ["一", " ", "二"]

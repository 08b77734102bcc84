"""The exercise of word vectors: its figures, what it is asked, and what it refuses."""

import io
import itertools
import json
import sys

import numpy as np
import pytest
import torch

from batches import training_batches
from saiki import cli
from saiki.errors import InputError
from saiki.experiments.words import exercise
from saiki.experiments.words.exercise import Words
from saiki.metrics.vectors import judge
from saiki.runs.reopen import reopen
from saiki.text.vectors import Vectors, write
from tiny import book

SMALL = {"size": 6, "minimum": 1, "epochs": 1.0, "batch_size": 256, "subsample": 0.0}


@pytest.fixture
def tests(tmp_path, monkeypatch):
    """Questions and pairs of the words of the book, beside words that it has not."""
    folder = tmp_path / "data" / "word_similarity"
    folder.mkdir(parents=True)
    (folder / "questions-words.txt").write_text(
        ": animals\nquick fox lazy dogs\nQuick Fox brown dogs\n: others\nquick fox slow snail\n"
    )
    words = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs"]
    pairs = [*itertools.permutations(words, 2)]
    rows = "".join(f"{a}\t{b}\t{i}\n" for i, (a, b) in enumerate(pairs))
    (folder / "wordsim353.tsv").write_text(f"{rows}snail\tslug\t9\n")
    monkeypatch.setenv("SAIKI_DATA", str(tmp_path / "data"))


def run(folder, *more):
    flags = [f"{name}={value}" for name, value in SMALL.items()]
    command = ["run", "words", "--data", str(book(folder)), "--out", str(folder / "run")]
    assert cli.main([*command, *flags, *more]) == 0
    return json.loads((folder / "run" / "result.json").read_text())


@pytest.mark.usefixtures("tests")
def test_the_figures_are_of_the_tests_that_are_there(tmp_path, capsys):
    figures = run(tmp_path)
    assert figures["analogies_known"] == pytest.approx(2 / 3)
    assert figures["analogy_accuracy"] is None  # of two questions
    assert -1 <= figures["wordsim353"] <= 1
    assert figures["words_per_second"] > 0
    printed = capsys.readouterr().out
    assert "animals: " in printed
    assert "of 2 right, 0 with unknown words" in printed
    assert "56 of 57 pairs known" in printed
    assert (tmp_path / "run" / "map.png").stat().st_size > 1000


@pytest.mark.usefixtures("tests")
@pytest.mark.parametrize("lacks", ["pairs", "questions"])
def test_one_kind_of_tests_is_enough(tmp_path, lacks):
    folder = tmp_path / "data" / "word_similarity"
    (folder / "wordsim353.tsv").rename(folder / "score_verb.csv")
    (folder / {"pairs": "score_verb.csv", "questions": "questions-words.txt"}[lacks]).unlink()
    figures = run(tmp_path)
    assert (figures["analogies_known"] is None) == (lacks == "questions")
    assert ("score_verb" not in figures) == (lacks == "pairs")


@pytest.mark.usefixtures("tests")
def test_tests_that_cannot_be_read_are_refused_before_anything_is_learned(tmp_path, capsys):
    (tmp_path / "data" / "word_similarity" / "accounts.csv").write_text("rent\n")
    flags = ["--data", str(book(tmp_path)), "--out", str(tmp_path / "run")]
    assert cli.main(["run", "words", *flags]) == 2
    assert "accounts.csv has one column; it needs two or more" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("tests")
def test_the_tests_are_asked_once(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        exercise, "judge", lambda *arguments: calls.append(arguments) or judge(*arguments)
    )
    run(tmp_path)
    assert len(calls) == 1


def test_a_run_begins_with_vectors_of_a_file_or_of_another_run(tmp_path, capsys):
    def first(*more):
        out = tmp_path / f"{len([*tmp_path.iterdir()])}"
        flags = [f"{name}={value}" for name, value in SMALL.items()]
        command = ["--data", str(book(tmp_path)), *flags, "learning_rate=0", "--out", str(out)]
        assert cli.main(["run", "words", *command, *more]) == 0
        return reopen(out)[1], out

    one, folder = first("seed=1")
    known = one.words[:3]
    path = write(Vectors((*known, "snail"), np.ones((4, 6), np.float32)), tmp_path / "v.txt")
    other, _ = first(f"start_from={path}")
    assert "3 of the known words begin with vectors of " in capsys.readouterr().out
    assert (other.vectors[known] == 1).all()
    assert np.abs(other.vectors[other.words[3:]]).max() < 0.1
    second, _ = first(f"start_from={folder}")
    assert torch.equal(second.inputs, one.inputs)


def test_vectors_that_do_not_fit_are_refused(tmp_path, capsys):
    data = str(book(tmp_path))
    for known, size, sentence in (
        (("snail",), 6, "v.txt has a vector of none of the words that are known"),
        (("fox",), 5, "v.txt needs --size 5, got 6"),
    ):
        path = write(Vectors(known, np.ones((1, size), np.float32)), tmp_path / "v.txt")
        flags = ["--data", data, "--size", "6", "--start-from", str(path)]
        assert cli.main(["run", "words", *flags, "--out", str(tmp_path / "run")]) == 2
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
    (tmp_path / "empty").mkdir()
    flags = ["--data", data, "--start-from", str(tmp_path / "empty")]
    assert cli.main(["run", "words", *flags, "--out", str(tmp_path / "run")]) == 2
    assert "empty holds no model.safetensors" in capsys.readouterr().err


def test_phrases_are_words(tmp_path, capsys):
    data = tmp_path / "news.txt"
    lines = [f"{a} in new york {b}" for a in "abcdefgh" for b in "ijklmnop"]
    data.write_text("\n\n".join(lines))
    flags = [f"{name}={value}" for name, value in {**SMALL, "minimum": 5}.items()]
    knobs = [f"data={data}", *flags, "phrases=2", "phrase_threshold=2"]
    assert cli.main(["run", "words", *knobs, "--out", str(tmp_path / "run")]) == 0
    assert "1 of those are phrases, such as in_new_york" in capsys.readouterr().out
    assert cli.main(["predict", str(tmp_path / "run"), "in_new_york"]) == 0


def test_the_standard_input_is_a_text(tmp_path, monkeypatch):
    text = io.TextIOWrapper(io.BytesIO(book(tmp_path).read_bytes()))
    monkeypatch.setattr(sys, "stdin", text)
    words = ["data=-", "size=4", "epochs=1", "updates=0", "--out", str(tmp_path / "run")]
    assert cli.main(["run", "words", *words]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["knobs"]["data"] == "-"


def test_words_are_added_and_taken_away(tmp_path, capsys):
    run(tmp_path)
    capsys.readouterr()
    assert cli.main(["predict", str(tmp_path / "run"), "fox -quick +lazy", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    words = [each["word"] for each in answer["nearest"]]
    assert answer["output"] == words[0]
    assert not {"fox", "quick", "lazy"} & {*words}
    assert cli.main(["predict", str(tmp_path / "run"), "foxx"]) == 2
    assert "there is no vector of 'foxx'; did you mean 'fox'?" in capsys.readouterr().err


def test_words_are_asked_for_as_people_write_them(tmp_path, capsys):
    run(tmp_path)
    messages = []
    for text in ("fox -quick +lazy", "Fox, - quick + LAZY", "+fox \N{MINUS SIGN}quick lazy"):
        capsys.readouterr()
        assert cli.main(["predict", str(tmp_path / "run"), text]) == 0
        messages.append(capsys.readouterr().out)
    assert messages[0] == messages[1] == messages[2]
    for text in ("", "+", "fox -", "- +fox", "brown fox's_"):
        assert cli.main(["predict", str(tmp_path / "run"), text]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "it takes words, as in 'king -man +woman', got" in line or "there is no" in line


def test_what_a_text_could_do_better_with_is_said(tmp_path, capsys):
    def trained_on(text, *more):
        path = tmp_path / "t.txt"
        path.write_text(text)
        command = ["--data", str(path), "--out", str(tmp_path / "run"), "--size", "4", *more]
        return cli.main(["run", "words", *command]), *capsys.readouterr()

    code, out, err = trained_on("".join(f"私は猫{i}。\n" for i in range(40)))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "a text of 40 words; take a longer text" in err
    assert "is cut by --tokens japanese" in err
    code, out, err = trained_on("")
    assert "got 0 that occur 5 times or more in a text of 0 words" in err
    assert "japanese" not in err
    code, out, _ = trained_on("one two\n" * 20)
    assert code == 0
    assert "so short a text teaches little; --subsample 0 --epochs 100 may help" in out
    assert f"saiki export {tmp_path / 'run'} --vectors words.txt" in out
    assert "model  WordVectors  (batch, 3, 4)" in out


def test_a_learning_rate_that_is_too_large_stops_the_run(tmp_path, capsys):
    flags = ["--data", str(book(tmp_path)), "--size", "4", "--out", str(tmp_path / "run")]
    more = ["--learning-rate", "1e6", "--minimum", "1", "--subsample", "0"]
    assert cli.main(["run", "words", *flags, *more, "--epochs", "100"]) == 1
    stopped = json.loads((tmp_path / "run" / "result.json").read_text())["stopped"]
    assert stopped.startswith("the loss is nan at iteration ")
    assert stopped.endswith(": try a learning_rate below 1e+06")
    assert stopped in capsys.readouterr().out


def test_several_processes_have_no_standard_input(tmp_path, monkeypatch):
    monkeypatch.setattr("saiki.processes.count", lambda: 2)
    with pytest.raises(InputError, match="have no standard input in common; name a file"):
        Words.from_dict({**SMALL, "data": "-"}).describe_data()


def test_batches_are_the_text(tmp_path):
    experiment = Words.from_dict({**SMALL, "data": str(book(tmp_path))})
    batches = training_batches(experiment)
    count = int(experiment.data.epoch)
    parts = [next(batches)[0] for _ in range(count)]
    assert sum(int((part >= 0).sum()) for part in parts) == experiment.data.text.words
    assert sorted(map(len, parts)) == sorted(len(next(batches)[0]) for _ in range(count))
    assert next(batches)[1] == 2 * count


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"optimiser": "adam"}, "word vectors are learned with optimiser sgd"),
        ({"clip_norm": 1.0}, "word vectors are learned with clip_norm 0"),
        ({"device": "cuda"}, "word vectors are learned on the CPU"),
        ({"min_n": 4, "max_n": 3, "buckets": 9}, "max_n must be at least min_n, 4, got 3"),
    ],
)
def test_what_is_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        Words.from_dict({**SMALL, **changes})

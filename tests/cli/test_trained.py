"""The commands that use a trained model: what they were before, and what they do not take."""

from pathlib import Path

import pytest

from commands import refused, saiki


@pytest.fixture
def talker():
    """The folder of a run, as far as it is looked at before PyTorch is loaded."""
    Path("a run").mkdir()
    Path("a run", "config.json").write_text('{"experiment": "dialogue", "knobs": {}}')
    return "a run"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--score", "t.jsonl", "--json"], "saiki score 'a run' t.jsonl --json does that now"),
        (["t.jsonl", "--score", "--context", "1"], "saiki score 'a run' t.jsonl --context 1 does"),
        (["t.csv", "--follow"], "saiki follow 'a run' t.csv does that now"),
        ([], "saiki chat 'a run' does that now"),
        (["--n-best", "1"], "saiki chat 'a run' does that now"),
    ],
)
def test_what_predict_did_before_is_named(words, sentence, talker):
    assert refused("predict", talker, *words).startswith(f"saiki predict: {sentence}")


def test_behind_two_strokes_it_is_a_text(talker):
    assert "does that now" not in refused("predict", talker, "--", "--score")


@pytest.mark.parametrize("command", ["predict", "score", "follow", "chat"])
def test_each_offers_the_knobs_of_the_run_and_no_others(command, talker):
    code, out, _ = saiki(command, talker, "--help")
    assert code == 0
    text = "\n".join(out)
    assert "--top-p" in text
    assert "--epochs" not in text
    words = ["x"] if command in ("predict", "score") else []
    code, _, [line] = saiki(command, talker, *words, "--epochs", 3)
    assert code == 2
    assert line.startswith(f"saiki {command}: unrecognized arguments: --epochs")
    assert line.endswith(f"see saiki {command} --help")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("predict", "the following arguments are required: RUN"),
        ("score --json", "the following arguments are required: RUN, FILE"),
        ("follow --json nowhere", "nowhere is not a run folder"),
        ("predict --mic 2 nowhere x", "nowhere is not a run folder"),
        ("predict --mic x run", "expected seconds of at least 0, got 'x'"),
    ],
)
def test_a_run_is_needed(words, sentence):
    Path("run").mkdir()
    Path("run", "config.json").write_text('{"experiment": "adder", "knobs": {}}')
    assert sentence in refused(*words.split())


def test_an_input_is_needed_where_nobody_talks():
    Path("run").mkdir()
    Path("run", "config.json").write_text('{"experiment": "adder", "knobs": {}}')
    assert "give an INPUT at least, or --mic" in refused("predict", "run")

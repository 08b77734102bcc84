"""A trained model in use, as a script calls it."""

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from saiki.data.sound.layouts import SOUND
from saiki.errors import InputError
from saiki.experiments.adder import Adder
from saiki.input_kind import InputKind
from saiki.prediction import FileOutput, Prediction
from saiki.runs.chat import chat
from saiki.runs.follow import arriving, follow
from saiki.runs.predict import predict
from saiki.runs.reopen import in_use
from saiki.runs.score import score


def test_each_input_has_a_prediction_or_why_there_is_none(folder):
    good, bad, last = predict(folder, ["3 + 4", "3 +", "2+2"])
    assert (good.input, good.figures["correct"]) == ("3 + 4", good.output == "7")
    assert good.seconds > 0
    assert isinstance(bad, InputError)
    assert last.text.startswith("2 + 2 = ")


@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        (lambda run: predict(run, ["1 + 1"], {"bits": 3}), "bits cannot be changed when the model"),
        (lambda run: predict(run, ["1 + 1"], seconds=2.0), "adder does not take sound"),
        (lambda run: predict(run, ["1 + 1"], {}, picture=Path("x.png")), "no picture of an answer"),
        (lambda run: score(run, [Path("x")]), "adder has no figures of a file"),
        (lambda run: follow(run, io.BytesIO(b"1\n")), "adder has nothing that goes on"),
        (lambda run: chat(run, ["hello"]), "adder holds no conversation"),
        (lambda run: predict(run / "nowhere", ["1 + 1"]), "nowhere is not a run folder"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(use, sentence, folder):
    with pytest.raises(InputError, match=sentence):
        list(use(folder))


def test_lines_of_standard_input_stand_in_their_place(folder, monkeypatch):
    text = "\ufeff1 + 2\r\n3 + 4\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    predictions = predict(folder, ["0 + 1", "-", "2 + 2"])
    assert [each.input for each in predictions] == ["0 + 1", "1 + 2", "3 + 4", "2 + 2"]


def test_what_is_recorded_is_the_first_input_and_is_not_left(folder, monkeypatch):
    paths = []

    def record(seconds, path):
        path.write_text(f"{seconds:g} + 1")
        paths.append(path)

    kind = InputKind("sum", in_file=lambda path: [path.read_text()], record=record)
    monkeypatch.setattr(Adder, "takes", kind)
    inputs = [each.input for each in predict(folder, ["2 + 2"], seconds=3.0)]
    assert inputs == ["3 + 1", "2 + 2"]
    assert not paths[0].exists()
    assert SOUND.record is not None


@dataclass(frozen=True)
class Note(FileOutput):
    """Words that become a file."""

    words: str

    ending = ".note"

    def save(self, path):
        path.parent.mkdir(exist_ok=True)
        path.write_text(self.words)
        return path


def test_an_output_becomes_a_file_and_replaces_none(folder, tmp_path, monkeypatch):
    def note(self, model, text):
        return Prediction(input=text, output=Note(text), text="written")

    monkeypatch.setattr(Adder, "predict", note)
    predictions = list(predict(folder, ["some/x.txt", "x.txt"]))
    paths = [folder / "predictions" / name for name in ("x.note", "x-2.note")]
    assert [each.output for each in predictions] == [*map(str, paths)]
    assert [path.read_text() for path in paths] == ["some/x.txt", "x.txt"]
    assert predictions[1].text == f"written; {paths[1]}"
    [other] = predict(folder, ["x.txt"], out=tmp_path / "new")
    assert other.output == str(tmp_path / "new" / "x.note")


def test_what_is_read_is_not_written_over(folder):
    Path(folder, "x.png").write_bytes(b"mine")
    with pytest.raises(InputError, match=r"x\.png is what is read"):
        predict(folder, [str(folder / "x.png")], picture=folder / "x.png")
    assert Path(folder, "x.png").read_bytes() == b"mine"


def test_a_run_is_used_with_the_knobs_of_its_exercise(folder, monkeypatch):
    monkeypatch.setattr(Adder, "predict_knobs", ("seed",))
    experiment, _ = in_use(folder, {"seed": 9})
    assert experiment.seed == 9


def test_rows_arrive_in_the_pieces_in_which_they_come():
    class Pieces:
        def __init__(self):
            self.rest = [b"a\nb", b"c\nd\n", b"", b"never"]

        def read(self, count):
            return self.rest.pop(0)

    assert [*arriving(Pieces())] == [[b"a"], [b"bc", b"d"]]
    assert [*arriving(io.BytesIO(b"a\nb"))] == [[b"a"], [b"b"]]


def test_a_prediction_is_an_object_of_json_or_a_row_each():
    @dataclass
    class Row:
        mean: float

    one = Prediction(input="x", output="y", figures={"p": 1.0}, unknown=(), text="")
    assert one.objects() == [{"input": "x", "output": "y", "p": 1.0, "unknown": ()}]
    label = Prediction(input="x", figures={"label": "a"}, seconds=0.5, text="")
    assert label.objects() == [{"input": "x", "label": "a", "seconds": 0.5}]
    assert Prediction(rows=[Row(1.0), Row(2.0)], text="").objects() == [{"mean": 1}, {"mean": 2}]

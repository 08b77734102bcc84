"""A conversation: turns, commands, and what is kept of it."""

import json

import pytest

from saiki.errors import InputError
from saiki.prediction import Prediction
from saiki.runs.chat import Conversation


class Parrot:
    """Says how many turns there were, in three ways, by its seed."""

    def __init__(self, seed=0):
        self.seed = seed

    def changed(self, values):
        return Parrot(**values)

    def predict_all(self, model, inputs):
        turns = inputs[0].splitlines()
        if turns[-1] == "nonsense":
            return [InputError("I do not understand")]
        replies = [f"{len(turns)} turns, {self.seed} {way}" for way in "abc"]
        alternatives = [{"output": each} for each in replies]
        return [Prediction(text=replies[0], output=replies[0], alternatives=alternatives)]


@pytest.fixture
def talk():
    return Conversation(Parrot(), None)


def test_what_both_said_is_the_context_of_what_comes(talk):
    assert talk.hear("hello\n").output == "1 turns, 0 a"
    assert talk.hear("how are you?").output == "3 turns, 0 a"
    assert talk.turns == ["hello", "1 turns, 0 a", "how are you?", "3 turns, 0 a"]


def test_other_replies_take_the_place_of_the_last(talk):
    talk.hear("hello")
    assert talk.hear("/again").output == "1 turns, 1 a"
    assert talk.hear("/again").output == "1 turns, 2 a"
    assert talk.hear("/3") == "it said: 1 turns, 2 c"
    assert talk.turns == ["hello", "1 turns, 2 c"]
    assert talk.hear("and now?").output == "3 turns, 0 a"


def test_it_forgets_and_ends(talk):
    talk.hear("hello")
    assert talk.hear("/forget") == "forgotten"
    assert talk.hear("hello").output == "1 turns, 0 a"
    assert talk.hear("/quit") is None


@pytest.mark.parametrize(("name", "read"), [("t.jsonl", json.loads), ("t.txt", str.splitlines)])
def test_it_is_saved_as_a_dialogue(talk, tmp_path, name, read):
    talk.hear("hello")
    assert talk.hear(f"/save {tmp_path / name}") == f"saved to {tmp_path / name}"
    assert read((tmp_path / name).read_text()) == talk.turns


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("/agian", "there is no /agian; there are /again, /2, /forget, /save FILE, /quit"),
        ("/again", "nothing has been said yet"),
        ("/2", "nothing has been said yet"),
        ("", "say something, or /quit"),
        ("nonsense", "I do not understand"),
        ("/save talk.doc", "ends with .txt or .jsonl"),
        ("/save", "ends with .txt or .jsonl"),
        ("/save t.txt", "nothing has been said yet"),
    ],
)
def test_what_cannot_be_is_told_and_changes_nothing(talk, line, sentence):
    with pytest.raises(InputError, match=sentence):
        talk.hear(line)
    assert talk.turns == []
    talk.hear("hello")
    with pytest.raises(InputError, match="there are 3 replies, got /4"):
        talk.hear("/4")
    assert talk.turns == ["hello", "1 turns, 0 a"]

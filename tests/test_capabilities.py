"""What an exercise can do beside learning is asked for in one way, and refused in one sentence."""

import pytest

from saiki.capabilities import Capability, DrawsAnswers, Folds, Follows, Scores
from saiki.errors import InputError
from saiki.experiments.adder import Adder
from saiki.experiments.spoken_digits import SpokenDigits


@pytest.mark.parametrize(
    ("capability", "sentence"),
    [
        (DrawsAnswers, "adder has no picture of an answer to draw"),
        (Follows, "adder has nothing that goes on line by line, to be followed"),
        (Scores, "adder has no figures of a file"),
        (Folds, "adder cannot be cross-validated"),
    ],
)
def test_what_an_exercise_cannot_do_is_refused_in_a_sentence(capability, sentence):
    with pytest.raises(InputError) as refusal:
        capability.of(Adder())
    assert str(refusal.value) == sentence


def test_what_it_can_do_is_the_exercise_itself():
    digits = SpokenDigits(seed=3)
    assert Folds.of(digits) is digits


def test_each_that_is_asked_for_has_its_sentence():
    assert all(capability.lacking for capability in Capability.__subclasses__())

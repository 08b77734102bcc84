"""Several inputs at once: each has its own answer, or its own reason why there is none."""

from saiki.errors import InputError
from saiki.prediction import Prediction, PredictsTogether


class Doubling(PredictsTogether):
    """Refuses all inputs if one of them is no number, as a batch does."""

    def __init__(self):
        self.sizes = []

    def predict_together(self, model, texts):
        self.sizes.append(len(texts))
        if wrong := [text for text in texts if not text.isdigit()]:
            raise InputError(f"{wrong[0]} is no number")
        return [Prediction(text=text, output=2 * int(text)) for text in texts]


def test_one_that_is_refused_takes_no_other_along():
    doubling = Doubling()
    answers = doubling.predict_all(None, [*"0123x567"])
    refused = answers.pop(4)
    assert [answer.output for answer in answers] == [0, 2, 4, 6, 10, 12, 14]
    assert str(refused) == "x is no number"
    assert doubling.sizes == [8, 4, 4, 2, 1, 1, 2]


def test_all_that_is_right_is_done_at_once():
    doubling = Doubling()
    assert [answer.output for answer in doubling.predict_all(None, [*"123"])] == [2, 4, 6]
    assert doubling.sizes == [3]
    assert doubling.predict_all(None, []) == []

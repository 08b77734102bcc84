"""What an experiment must have beside its data, its model and its loss, left empty."""

from collections.abc import Callable, Iterator
from functools import cached_property

from saiki.data.dataset import Dataset
from saiki.experiment import Experiment
from saiki.prediction import Prediction


class Stream(Dataset):
    """Batches as a function of the number of the first one makes them."""

    make: Callable[[int], Iterator]

    def batches(self, seed, start=0):
        return self.make(start)


class Bare(Experiment):
    """For tests of the training alone."""

    name = "bare"
    summary = score = ""

    @cached_property
    def data(self):
        return Stream(self.optimisation.batching, self.batches)

    def evaluate(self, model):
        return {}

    def predict(self, model, text):
        return Prediction(text="")

    def equations(self):
        return ""

"""What an experiment must have beside its data, its model and its loss, left empty."""

from saiki.experiment import Experiment


class Bare(Experiment):
    """For tests of the training alone."""

    name = "bare"
    summary = score = ""

    def evaluate(self, model):
        return {}

    def sample(self, model):
        return ""

    def predict(self, model, text):
        return {}

    def equations(self):
        return ""

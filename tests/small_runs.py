"""A small run of the adder, and the same training without a run."""

import json

import torch

from saiki.experiments.adder import Adder
from saiki.runs.folder import RunFolder
from saiki.runs.record import Options
from saiki.runs.run import run as train
from saiki.training import Training

SETTING = Adder(
    iterations=50, bits=4, longer_bits=6, hidden_size=5, batch_size=7, log_every=20, seed=3
)


def run(path, setting=SETTING, preset=None, **options):
    folder = RunFolder.create("adder", path)
    return train(setting, folder, preset, Options(**options))


def trained_apart():
    """The same training without a folder."""
    torch.manual_seed(3)
    model, points = SETTING.model(), []
    Training(SETTING, model).run(points.append)
    return model, points


def damaged(path, config=None, **changes):
    original = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config or {**original, **changes}))

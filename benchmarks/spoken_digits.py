"""Epochs of spoken digits, preset ``report``, beside the same model in Keras.

Seconds of one epoch and its validation, the same batches in the same order, and the accuracy after
it. Each contender is timed from a new model to the end of its epoch, compilation included, and
again for a second epoch, where everything is compiled.
"""

import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy
import torch

from saiki.bench.harness import Row, Timing, row
from saiki.experiments.spoken_digits import SpokenDigits
from saiki.training import Training

Arrays = tuple[numpy.ndarray, numpy.ndarray]


def rows(repeats: int = 3) -> Iterator[Row]:
    experiment = SpokenDigits.from_dict(
        {**SpokenDigits.preset("report"), "log_every": 10**6, "device": "cpu"}
    )
    stream, parts = experiment.data.batches(experiment.seed), experiment.data.parts
    batches = [_arrays(next(stream)) for _ in range(experiment.data.epoch)]
    held_out = {
        name: tuple(map(numpy.concatenate, zip(*map(_arrays, unchanged), strict=True)))
        for name, indices in (("validation", parts.validation), ("test", parts.test))
        for unchanged in [experiment.data.unchanged(indices)]
    }
    contenders = {"saiki": lambda seed: _saiki(experiment, seed, held_out)}
    if find_spec("keras") is not None and find_spec("jax") is not None:
        contenders["keras on jax"] = lambda seed: _keras(batches, seed, held_out)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for seed in range(repeats):
        for name, contender in contenders.items():
            runs[name].append(contender(seed))
    size = (
        experiment.optimisation.batching.batch_size, experiment.hearing.samples, 1,
        experiment.recurrent.hidden_size,
    )  # fmt: skip
    for figure in ("first epoch", "second epoch"):
        timings = {n: Timing.of([run[figure] for run in each]) for n, each in runs.items()}
        report = row(f"spoken digits, preset report, {figure}", size, timings)
        report["accuracy after the first epoch"] = {
            name: {part: [round(run[part], 3) for run in each] for part in held_out}
            for name, each in runs.items()
        }
        yield report


def _arrays(batch: Any) -> Arrays:
    x, _, y = batch
    return x.numpy(), y.numpy()


def _saiki(experiment: SpokenDigits, seed: int, held_out: dict[str, Arrays]) -> dict[str, float]:
    torch.manual_seed(seed)
    figures: dict[str, float] = {}
    model = experiment.model()
    for figure in ("first epoch", "second epoch"):
        started = time.perf_counter()
        Training(experiment, model).run(lambda point: None)
        figures[figure] = time.perf_counter() - started
        if figure == "first epoch":
            with torch.no_grad():
                for name, (x, y) in held_out.items():
                    labels = model.classify(torch.from_numpy(x), None).argmax(1).numpy()
                    figures[name] = float((labels == y).mean())
    return figures


def _keras(batches: list[Arrays], seed: int, held_out: dict[str, Arrays]) -> dict[str, float]:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    keras.utils.set_random_seed(seed)
    figures: dict[str, float] = {}
    started = time.perf_counter()
    model = keras.Sequential(
        [
            keras.Input((batches[0][0].shape[1], 1)),
            keras.layers.Bidirectional(keras.layers.LSTM(64)),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.001, clipvalue=0.5),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    x, y = (numpy.concatenate(parts) for parts in zip(*batches, strict=True))
    options = {
        "batch_size": len(batches[0][0]),
        "shuffle": False,
        "verbose": 0,
        "validation_data": held_out["validation"],
        "validation_batch_size": 64,
    }
    model.fit(x, y, **options)
    figures["first epoch"] = time.perf_counter() - started
    for name, (x_part, y_part) in held_out.items():
        labels = model.predict(x_part, batch_size=100, verbose=0).argmax(1)
        figures[name] = float((labels == y_part).mean())
    started = time.perf_counter()
    model.fit(x, y, **options)
    figures["second epoch"] = time.perf_counter() - started
    return figures

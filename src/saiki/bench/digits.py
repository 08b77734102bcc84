"""One epoch of spoken digits, preset ``report``, beside the same model in Keras."""

import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from statistics import median
from typing import Any

import numpy
import torch

from saiki.experiments.spoken_digits import SpokenDigits
from saiki.training import Training

Row = dict[str, Any]
Arrays = tuple[numpy.ndarray, numpy.ndarray]


def rows(repeats: int) -> Iterator[Row]:
    """Seconds of one epoch and its validation, the same batches in the same order, and the
    accuracy after it.

    Each contender is timed from a new model to the end of its epoch, compilation included, and
    again for a second epoch, where everything is compiled.
    """
    setting = SpokenDigits.from_dict(
        {**SpokenDigits.preset("report"), "log_every": 10**6, "device": "cpu"}
    )
    batches = [
        (x.numpy(), y.numpy()) for x, y in (_arrays(b) for b in _epoch(setting, setting.data.epoch))
    ]
    parts = {"validation": setting.data.parts.validation, "test": setting.data.parts.test}
    kept = {name: _together(setting, indices) for name, indices in parts.items()}
    contenders = {"saiki": lambda seed: _saiki(setting, seed, kept)}
    if find_spec("keras") is not None and find_spec("jax") is not None:
        contenders["keras on jax"] = lambda seed: _keras(batches, seed, kept)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for seed in range(repeats):
        for name, contender in contenders.items():
            runs[name].append(contender(seed))
    batch = setting.optimisation.batching.batch_size
    for figure in ("first epoch", "second epoch"):
        seconds = {name: [run[figure] for run in its] for name, its in runs.items()}
        middle = {name: median(its) for name, its in seconds.items()}
        yield {
            "workload": f"spoken digits, preset report, {figure}",
            "size": (batch, setting.hearing.samples, 1, setting.recurrent.hidden_size),
            "milliseconds": {name: round(1e3 * s, 1) for name, s in middle.items()},
            "spread": {
                name: [round(1e3 * min(its), 1), round(1e3 * max(its), 1)]
                for name, its in seconds.items()
            },
            "ratio": {n: round(s / middle["saiki"], 3) for n, s in middle.items() if n != "saiki"},
            "accuracy after the first epoch": {
                name: {part: [round(run[part], 3) for run in its] for part in kept}
                for name, its in runs.items()
            },
        }


def _epoch(setting: SpokenDigits, count: int) -> Iterator[Any]:
    stream = setting.data.batches(setting.seed)
    for _ in range(count):
        yield next(stream)


def _arrays(batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
    x, _, y = batch
    return x, y


def _together(setting: SpokenDigits, indices: tuple[int, ...]) -> Arrays:
    found = [_arrays(batch) for batch in setting.data.unchanged(indices)]
    x, y = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return x, y


def _saiki(setting: SpokenDigits, seed: int, kept: dict[str, Arrays]) -> dict[str, float]:
    torch.manual_seed(seed)
    figures: dict[str, float] = {}
    started = time.perf_counter()
    model = setting.model()
    Training(setting, model).run(lambda point: None)
    figures["first epoch"] = time.perf_counter() - started
    with torch.no_grad():
        for name, (x, y) in kept.items():
            said = model.classify(torch.from_numpy(x), None).argmax(1).numpy()
            figures[name] = float((said == y).mean())
    again = Training(setting, model)
    started = time.perf_counter()
    again.run(lambda point: None)
    figures["second epoch"] = time.perf_counter() - started
    return figures


def _keras(batches: list[Arrays], seed: int, kept: dict[str, Arrays]) -> dict[str, float]:
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
    how = {
        "batch_size": len(batches[0][0]),
        "shuffle": False,
        "verbose": 0,
        "validation_data": kept["validation"],
        "validation_batch_size": 64,
    }
    model.fit(x, y, **how)
    figures["first epoch"] = time.perf_counter() - started
    for name, (x_kept, y_kept) in kept.items():
        said = model.predict(x_kept, batch_size=100, verbose=0).argmax(1)
        figures[name] = float((said == y_kept).mean())
    started = time.perf_counter()
    model.fit(x, y, **how)
    figures["second epoch"] = time.perf_counter() - started
    return figures

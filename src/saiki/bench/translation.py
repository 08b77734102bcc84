"""The translation exercise: a training step beside ``torch.nn.LSTM``, and decoding together."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from saiki.bench.cells import Row, row
from saiki.bench.harness import Step, interleaved
from saiki.cell import Cell
from saiki.decoding.decode import Search
from saiki.errors import InputError
from saiki.experiments.translate import Translate
from saiki.layers.recurrent import Recurrent
from saiki.models.decoder import Decoder
from saiki.models.translator import Translator
from saiki.runs.reopen import reopen

BATCHES = 20
"""Timed together, one after the other: sentences have many lengths."""
SENTENCES = 500


def training(repeats: int) -> Iterator[Row]:
    """Training steps of the preset ``good``, with the recurrent layers of three makes; everything
    else is the same."""
    for precision in ("float32", "bfloat16"):
        experiment = Translate(precision=precision, device="cpu")
        stream = experiment.data.batches(experiment.seed)
        batches = [next(stream) for _ in range(BATCHES)]
        contenders = {
            "saiki": experiment.model(),
            "torch.nn.LSTM": _of_torch(experiment.model()),
            "step by step": _eager(experiment.model()),
        }
        steps = {name: _steps(experiment, model, batches) for name, model in contenders.items()}
        size = _size(experiment)
        timings = interleaved(steps, max(3, repeats // 5))
        yield row(f"translate, {BATCHES} iterations, {precision}", size, timings)


def input_feeding(repeats: int) -> Iterator[Row]:
    """The same with input feeding: attention inside the recurrence, as the equations of one cell,
    and step by step."""
    experiment = Translate(input_feeding=True, device="cpu")
    stream = experiment.data.batches(experiment.seed)
    batches = [next(stream) for _ in range(BATCHES)]
    contenders = {"saiki": experiment.model(), "step by step": experiment.model()}
    contenders["step by step"].members[0].decoder.__class__ = _ByStep
    steps = {name: _steps(experiment, model, batches) for name, model in contenders.items()}
    size = _size(experiment)
    timings = interleaved(steps, max(3, repeats // 5))
    yield row(f"translate with input feeding, {BATCHES} iterations", size, timings)


def _size(experiment: Translate) -> tuple[int, ...]:
    layers = experiment.recurrent
    return experiment.optimisation.batching.batch_size, layers.embedding_size, layers.hidden_size


class _ByStep(Decoder, name="bench.decoder_by_step.v1"):
    """A decoder that goes step by step always."""

    whole = False


def _steps(experiment: Translate, model: Translator, batches: list[Any]) -> Step:
    adam = torch.optim.Adam(model.train().parameters(), experiment.optimisation.learning_rate)

    def run() -> None:
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16, experiment.precision == "bfloat16"):
                loss = experiment.measure(model, batch)["loss"]
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), experiment.optimisation.clip_norm)
            adam.step()

    return run


def _of_torch(model: Translator) -> Translator:
    learner: Any = model.models[0]
    cell = learner.encoder.recurrent.forward_layer.cell
    learner.encoder.recurrent = _OfTorch(cell, bidirectional=True)
    learner.decoder.layers = nn.ModuleList(map(_OfTorch, learner.decoder.cells))
    return model


def _eager(model: Translator) -> Translator:
    learner: Any = model.models[0]
    both = learner.encoder.recurrent
    both.forward_layer, both.backward_layer = (
        Recurrent(old.cell, reverse=old.reverse, backend="eager")
        for old in (both.forward_layer, both.backward_layer)
    )
    cells = learner.decoder.cells
    learner.decoder.layers = nn.ModuleList(Recurrent(cell, backend="eager") for cell in cells)
    return model


class _OfTorch(nn.Module):
    """``torch.nn.LSTM`` that is called as layers here are, over packed sequences where it must."""

    def __init__(self, cell: Cell, bidirectional: bool = False) -> None:
        super().__init__()
        self.cell = cell
        self.lstm = nn.LSTM(
            cell.input_size, cell.state_sizes[0], batch_first=True, bidirectional=bidirectional
        )

    def forward(
        self, x: Tensor, state: Any = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        given = None if state is None else tuple(part[None].contiguous() for part in state)
        if not self.lstm.bidirectional:  # padding comes after all that counts
            y, ends = self.lstm(x, given)
            return y, tuple(part[0] for part in ends)
        assert lengths is not None
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        packed, (h, c) = self.lstm(packed, given)
        y, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        return y, ((h[0], c[0]), (h[1], c[1]))


def decoding(run: Path, repeats: int) -> Iterator[Row]:
    """Sentences of the development set of a trained model: all of them together, and one by one.

    Raises:
        InputError: the run is not of the exercise.
    """
    experiment, model = reopen(run)
    if not isinstance(experiment, Translate):
        raise InputError(f"{run} is a run of {experiment.name}; give one of translate")
    translator = cast(Translator, model)
    texts = experiment.data.corpus.development.source[:SENTENCES]
    for search in (Search("greedy"), Search("beam", beam=5)):
        name = search.method if search.method == "greedy" else f"beam {search.beam}"

        def together(search: Search = search) -> None:
            translator.translate(texts, search)

        def alone(search: Search = search) -> None:
            for text in texts:
                translator.translate([text], search)

        timings = interleaved({"together": together, "one by one": alone}, max(3, repeats // 5))
        found = row(
            f"{name}, {len(texts)} sentences",
            (experiment.recurrent.hidden_size,),
            timings,
            "together",
        )
        yield found | {
            "sentences a second": {n: round(len(texts) / t.median, 1) for n, t in timings.items()}
        }

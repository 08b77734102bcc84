"""Training steps of the exercise translate, with the recurrent layers of three makes; everything
else is the same.

With input feeding, attention is inside the recurrence, as the equations of one cell, and step by
step.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from saiki.bench.harness import Row, Step, interleaved, row
from saiki.cell import Cell
from saiki.experiments.translate import Translate
from saiki.layers.recurrent import Recurrent
from saiki.models.decoder import Decoder
from saiki.models.translator import Translator

BATCHES = 20
"""Timed together, one after the other: sentences have many lengths."""


def rows(repeats: int = 3) -> Iterator[Row]:
    for precision in ("float32", "bfloat16"):
        experiment = Translate(precision=precision, device="cpu")
        contenders = {
            "saiki": experiment.model(),
            "torch.nn.LSTM": _of_torch(experiment.model()),
            "step by step": _eager(experiment.model()),
        }
        yield _compared(
            f"translate, {BATCHES} iterations, {precision}", experiment, contenders, repeats
        )
    experiment = Translate(input_feeding=True, device="cpu")
    contenders = {"saiki": experiment.model(), "step by step": experiment.model()}
    contenders["step by step"].members[0].decoder.__class__ = _ByStep
    yield _compared(
        f"translate with input feeding, {BATCHES} iterations", experiment, contenders, repeats
    )


def _compared(
    name: str, experiment: Translate, contenders: dict[str, Translator], repeats: int
) -> Row:
    """Iterations on the same batches by each contender in turn."""
    batches = [*itertools.islice(experiment.data.batches(experiment.seed), BATCHES)]
    steps = {n: _steps(experiment, model, batches) for n, model in contenders.items()}
    layers = experiment.recurrent
    size = experiment.optimisation.batching.batch_size, layers.embedding_size, layers.hidden_size
    return row(name, size, interleaved(steps, repeats))


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
        start = None if state is None else tuple(part[None].contiguous() for part in state)
        if not self.lstm.bidirectional:  # padding comes after all that counts
            y, ends = self.lstm(x, start)
            return y, tuple(part[0] for part in ends)
        assert lengths is not None
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        packed, (h, c) = self.lstm(packed, start)
        y, _ = pad_packed_sequence(packed, batch_first=True, total_length=x.shape[1])
        return y, ((h[0], c[0]), (h[1], c[1]))

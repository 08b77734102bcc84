"""The drop-ins of ``saiki.nn`` beside ``saiki.Recurrent``, and ragged batches beside full ones.

Ratios are of ``saiki.Recurrent``, or of the full batch.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

from saiki import cells, nn
from saiki.bench.cells import LONG, SHORT, WIDE
from saiki.bench.grid import OURS
from saiki.bench.harness import Row, interleaved, row, training_step
from saiki.cells import LSTM
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent

SPEECH = (32, 400, 40, 128)
"""batch, steps, input size, hidden size."""


def rows(repeats: int = 15) -> Iterator[Row]:
    for family in ("rnn", "lstm", "gru"):
        yield _beside_recurrent(family, SHORT, True, repeats)
    yield _beside_recurrent("gru", LONG, False, repeats)
    for size in WIDE:
        yield _beside_recurrent("lstm", size, False, max(3, repeats // 2), peephole=True)
    yield _ragged(repeats)


def _beside_recurrent(
    family: str,
    size: tuple[int, int, int, int],
    bidirectional: bool,
    repeats: int,
    **options: Any,
) -> Row:
    batch, steps, inputs, hidden = size
    x = torch.randn(batch, steps, inputs)
    cell = cells.make(family, inputs, hidden, **options)
    layer = Bidirectional(cell) if bidirectional else Recurrent(cell)
    drop_in = OURS[family](inputs, hidden, batch_first=True, bidirectional=bidirectional, **options)
    contenders = {
        "saiki.Recurrent": training_step(layer, x),
        "saiki.nn": training_step(drop_in, x),
    }
    name = " ".join((*(["bidirectional"] if bidirectional else []), *options, family))
    return row(name, size, interleaved(contenders, repeats), "saiki.Recurrent")


def _ragged(repeats: int) -> Row:
    """Half of all steps are padding."""
    batch, steps, inputs, hidden = SPEECH
    x = torch.randn(batch, steps, inputs)
    lengths = torch.linspace(1, steps - 1, batch).round().long()
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    layer = Bidirectional(LSTM(inputs, hidden))
    drop_in = nn.LSTM(inputs, hidden, batch_first=True, bidirectional=True)

    def step(outputs: Callable[[], Tensor]) -> Callable[[], None]:
        return lambda: outputs().sum().backward()

    contenders = {
        "full": step(lambda: layer(x)[0]),
        "with lengths": step(lambda: layer(x, lengths=lengths)[0]),
        "saiki.nn, full": step(lambda: drop_in(x)[0]),
        "saiki.nn, packed": step(lambda: drop_in(packed)[0].data),
    }
    return row("ragged bidirectional lstm", SPEECH, interleaved(contenders, repeats), "full")

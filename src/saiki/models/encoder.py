"""What reads tokens, and the bridge from there to what writes."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from saiki.errors import InputError
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Layer, as_layer
from saiki.saving.pretrained import DescribedModule


class Encoder(DescribedModule, name="encoder.v1"):
    """Tokens read by recurrent layers of any cell, depth and direction.

    Args:
        vocabulary: tokens it knows.
        embedding_size: features of a token; ``recurrent`` takes as many.
        recurrent: a cell or layer.
        dropout: share of features of the embeddings and of the memory set to zero while training.

    Raises:
        InputError: the layer does not take ``embedding_size`` features.
    """

    def __init__(
        self, vocabulary: int, embedding_size: int, recurrent: nn.Module, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.recurrent: Layer = as_layer(recurrent)
        if self.recurrent.input_size != embedding_size:
            raise InputError(
                f"the encoder takes {self.recurrent.input_size} features, and a token has "
                f"{embedding_size}"
            )
        self.embedding = nn.Embedding(vocabulary, embedding_size)
        nn.init.normal_(self.embedding.weight, std=embedding_size**-0.5)
        self.dropout = nn.Dropout(dropout)

    @property
    def output_size(self) -> int:
        size: int = self.recurrent.output_size
        return size

    def forward(
        self, tokens: Tensor, lengths: Tensor | None, is_read: bool = True
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The memory ``(batch, time, output_size)``, 0 beyond the end of a row, and the last states
        of all layers and directions, ``(batch, size)`` each.

        Args:
            tokens: ``(batch, time)``.
            lengths: ``(batch,)``, the tokens of each row.
            is_read: whether anything reads the memory; without, there is no dropout in it.
        """
        y, state = self.recurrent(self.dropout(self.embedding(tokens)), lengths=lengths)
        return self.dropout(y) if is_read else y, tuple(leaves(state))


def leaves(state: Any) -> Iterator[Tensor]:
    """The tensors of a nested state, from the lowest layer and the forward direction on."""
    if isinstance(state, Tensor):
        yield state
    else:
        for part in state:
            yield from leaves(part)


def end_sizes(layer: Layer) -> list[int]:
    """The sizes of the states that :func:`leaves` finds in what ``layer`` returns."""
    if isinstance(layer, Recurrent):
        return list(layer.cell.state_sizes)
    if isinstance(layer, Bidirectional):
        return end_sizes(layer.forward_layer) + end_sizes(layer.backward_layer)
    return [size for part in layer.layers for size in end_sizes(part)]  # type: ignore[arg-type]


class Bridge(DescribedModule, name="bridge.v1"):
    """From the last states of the encoder to the first ones of the decoder.

    Where they agree in number and sizes they are handed over as they are; otherwise
    ``s = tanh(W [e₁; e₂; …] + b)`` (the first state of Bahdanau, Cho & Bengio 2015, appendix A.2.2,
    with all states of all layers in place of one).

    Args:
        given: sizes of the states of the encoder.
        wanted: sizes of the states of the decoder.
    """

    def __init__(self, given: Sequence[int], wanted: Sequence[int]) -> None:
        super().__init__()
        self.wanted = list(wanted)
        self.linear = None
        if list(given) != self.wanted:
            self.linear = nn.Linear(sum(given), sum(wanted))

    def forward(self, states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """States ``(batch, size)`` each, to states of the sizes wanted."""
        if self.linear is None:
            return tuple(states)
        made: Tensor = torch.tanh(self.linear(torch.cat(list(states), -1)))
        return tuple(made.split(self.wanted, -1))

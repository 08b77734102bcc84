"""Rows of numbers that stand for tokens, side by side."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from saiki.text.vocabulary import END, PAD, Vocabulary


def tokens_of(text: str, characters: Vocabulary) -> Tensor:
    """The numbers of its characters, and END: ``(characters + 1,)``."""
    return torch.tensor([*characters.ids(text), END])


def padded(
    rows: Sequence[Tensor] | Sequence[Sequence[int]], filler: int = PAD
) -> tuple[Tensor, Tensor]:
    """Rows side by side, ``(rows, longest)``, with ``filler`` beyond their ends; their lengths."""
    tensors = [torch.as_tensor(row) for row in rows]
    lengths = torch.tensor([len(row) for row in tensors])
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=filler), lengths

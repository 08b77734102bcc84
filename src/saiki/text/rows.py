"""Rows of numbers that stand for tokens, side by side."""

from collections.abc import Iterator, Sequence

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


def together(sizes: Sequence[int], rows: int, total: int) -> Iterator[list[int]]:
    """The places of rows of these sizes, those of similar sizes together, at most so many ``rows``;
    and so few that with each as large as the largest they have at most ``total``, or one row.

    >>> list(together([3, 1, 9, 2], 2, 8))
    [[1, 3], [0], [2]]
    """
    some = list[int]()
    for i in sorted(range(len(sizes)), key=sizes.__getitem__):
        if some and (len(some) == rows or (len(some) + 1) * sizes[i] > total):
            yield some
            some = []
        some.append(i)
    if some:
        yield some

"""What kind each character of a text is of, and which one may be missing before it."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from saiki.errors import InputError
from saiki.layers import equations
from saiki.models.encoder import Encoder
from saiki.progress import each
from saiki.saving.pretrained import DescribedModule
from saiki.text import SPECIAL, Vocabulary
from saiki.text.rows import padded, tokens_of

CORE, CONTEXT = 384, 64
"""Characters of a window that are answered, and those on either side that are read with them."""
ROWS = 64
"""Windows that are read together."""


class Reading(NamedTuple):
    """What a tagger says of each character of a text, and of the end after the last one."""

    kinds: Tensor
    """The probability of each kind, ``(characters + 1, kinds)``."""
    missing: Sequence[str]
    """The character that is missing before each, if one is."""


class Tagger(DescribedModule, name="tagger.v1"):
    """Recurrent layers over characters, and two softmax layers at each step.

    y = encoder(x),  p(kind) = softmax(W y + b),  p(missing) = softmax(V y + c)

    Beside its weights it holds a ``threshold``, the probability from which on a mistake is to be
    marked.

    Args:
        encoder: what reads the numbers of the characters.
        characters: those that are known.
        kinds: the names of the kinds.

    Raises:
        InputError: the encoder knows another number of characters.
    """

    threshold: Tensor

    def __init__(self, encoder: Encoder, characters: Vocabulary, kinds: Sequence[str]) -> None:
        super().__init__()
        known = encoder.embedding.num_embeddings
        if known != len(characters):
            raise InputError(f"the encoder knows {known} characters, got {len(characters)}")
        nn.init.normal_(encoder.embedding.weight)  # with smaller ones it learns much later
        self.encoder = encoder
        self.characters = characters
        self.kinds = tuple(kinds)
        self.kind = nn.Linear(encoder.output_size, len(kinds))
        self.missing = nn.Linear(encoder.output_size, len(characters))
        self.register_buffer("threshold", torch.tensor(0.7))

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The pre-activations of both, ``(batch, time, kinds)`` and ``(batch, time, characters)``.

        Args:
            tokens: ``(batch, time)``; the last one of each row is END.
            lengths: ``(batch,)``, the tokens of each row.
        """
        y, _ = self.encoder(tokens, lengths)
        return self.kind(y), self.missing(y)

    def equations(self) -> str:
        return "\n".join(
            (
                equations.of_layer(self.encoder.recurrent),
                f"p(kindᵗ) = softmax(W yᵗ + b), of {', '.join(self.kinds)}",
                "p(missingᵗ) = softmax(V yᵗ + c)",
            )
        )

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> list[Reading]:
        """What the trained model says of each text.

        A long text is read in windows that overlap, so that memory does not grow with its length:
        each answers for 384 characters, and reads 64 more on either side.
        """
        device = self.kind.weight.device
        numbers = [tokens_of(text, self.characters) for text in texts]
        kinds = [torch.empty(len(ids), len(self.kinds)) for ids in numbers]
        missing = [torch.empty(len(ids), dtype=torch.int64) for ids in numbers]
        windows = [(i, *window) for i, ids in enumerate(numbers) for window in _windows(len(ids))]
        windows.sort(key=lambda window: window[4] - window[1])  # little padding
        for at in each(range(0, len(windows), ROWS)):
            some = windows[at : at + ROWS]
            tokens, lengths = padded([numbers[i][begin:end] for i, begin, _, _, end in some])
            u, v = self(tokens.to(device), lengths)
            p = u.softmax(-1).cpu()
            best = v[..., len(SPECIAL) :].argmax(-1).cpu() + len(SPECIAL)
            for row, (i, begin, first, after, _) in enumerate(some):
                kinds[i][first:after] = p[row, first - begin : after - begin]
                missing[i][first:after] = best[row, first - begin : after - begin]
        return [
            Reading(k, self.characters.tokens(m.tolist()))
            for k, m in zip(kinds, missing, strict=True)
        ]


def _windows(count: int) -> Iterator[tuple[int, int, int, int]]:
    """Where each window begins, where what it answers for begins and is over, and its end."""
    for first in range(0, count, CORE):
        after = min(first + CORE, count)
        yield max(0, first - CONTEXT), first, after, min(after + CONTEXT, count)

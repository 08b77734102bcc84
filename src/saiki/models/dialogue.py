"""What answers: a model of dialogue with the language that it speaks."""

import zlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from saiki.data.text.dialogue_rows import DialogueRows, Turns, batch
from saiki.decoding.decode import Search, decode
from saiki.errors import InputError
from saiki.models.hred import HRED, VHRED, Context, Likelihoods
from saiki.models.seq2seq import NEVER_WRITTEN, WrittenText
from saiki.saving.pretrained import DescribedModule
from saiki.text import BEGIN, END, UNKNOWN, Text

AT_ONCE = 64
"""Dialogues that are answered together."""


class Dialoguer(DescribedModule, name="dialoguer.v1"):
    """Says what could come next.

    Args:
        model: of dialogues.
        text: how turns are read and written.
        longest: tokens of a turn that are read; what is beyond is cut.

    Raises:
        InputError: the model knows another number of tokens than the language has.
    """

    def __init__(self, model: HRED, text: Text, longest: int = 60) -> None:
        super().__init__()
        sizes = model.encoder.embedding.num_embeddings, model.decoder.embedding.num_embeddings
        if sizes != (len(text.vocabulary),) * 2:
            raise InputError(
                f"the model knows {sizes} tokens, and its language has {len(text.vocabulary)}"
            )
        self.model, self.text, self.longest = model, text, longest

    def forward(
        self,
        tokens: Tensor,
        lengths: Tensor,
        dialogue: Tensor,
        place: Tensor,
        is_reply: Tensor,
        draws: int = 1,
        drop: float = 0.0,
        words: bool = False,
        generator: torch.Generator | None = None,
    ) -> Likelihoods:
        """See :meth:`saiki.models.hred.HRED.forward`; the first five are those of ``Turns``."""
        turns = Turns(tokens, lengths, dialogue, place, is_reply)
        likelihoods: Likelihoods = self.model(turns, draws, drop, words, generator)
        return likelihoods

    def equations(self) -> str:
        return self.model.equations()

    @torch.no_grad()
    def replies(
        self,
        dialogues: Sequence[Sequence[str]],
        search: Search,
        limit: int = 40,
        begin_with: str = "",
        must_hold: Sequence[str] = (),
    ) -> list[list[WrittenText]]:
        """``search.n_best`` things to say after each dialogue, the best first.

        With a latent variable each of them has one of its own, drawn by the seed of ``search`` and
        what was said; without one they are those that the search finds.

        Args:
            dialogues: turns; of each the last one is answered.
            limit: tokens of a reply at most, beside those that it must begin with or hold.
            begin_with: how each reply begins.
            must_hold: phrases that each reply holds.

        Raises:
            InputError: nothing has been said, or a phrase cannot be written.
        """
        dialogues = [[turn for turn in dialogue if turn.strip()] for dialogue in dialogues]
        if not all(dialogues):
            raise InputError("nothing has been said yet, so there is nothing to reply to")
        prefix = self.text.phrase(begin_with)
        held = [self.text.phrase(phrase) for phrase in must_hold]
        replies = list[list[WrittenText]]()
        for at in range(0, len(dialogues), AT_ONCE):
            replies += self._replies(dialogues[at : at + AT_ONCE], search, limit, prefix, held)
        return replies

    def _replies(
        self,
        dialogues: Sequence[Sequence[str]],
        search: Search,
        limit: int,
        prefix: list[int],
        held: list[list[int]],
    ) -> list[list[WrittenText]]:
        turns = batch(DialogueRows.read(dialogues, self.text, self.longest).pieces)
        last = torch.cat((turns.place[1:] == 0, torch.ones(1, dtype=torch.bool))).nonzero()[:, 0]
        device = next(self.parameters()).device
        turns, last = Turns(*(part.to(device) for part in turns)), last.to(device)
        context, _ = self.model.contexts(turns, last)
        keys = [zlib.crc32("\n".join(dialogue).encode()) for dialogue in dialogues]
        copies = search.n_best if isinstance(self.model, VHRED) else 1
        latent = None
        if isinstance(self.model, VHRED):
            prior, size = self.model.prior_of(context), self.model.latent_size
            seeds = [(search.seed, key, i) for key in keys for i in range(copies)]
            normals = np.stack([np.random.default_rng(s).standard_normal(size) for s in seeds])
            noise = torch.from_numpy(normals).view(len(keys), copies, size).to(prior.mean)
            latent = prior.at(noise.transpose(0, 1)).transpose(0, 1).flatten(0, 1)
            context = Context(*(part.repeat_interleave(copies, 0) for part in context))
            search = replace(search, n_best=1)
        rows = len(dialogues) * copies
        state, memory = self.model.begin(context, latent)
        hypotheses = decode(
            self.model.advance,
            state,
            memory,
            [limit + len(prefix) + sum(map(len, held))] * rows,
            search,
            begin=BEGIN,
            end=END,
            banned=(*NEVER_WRITTEN, UNKNOWN),
            prefixes=[prefix] * rows if prefix else None,
            forced=[held] * rows if held else None,
            keys=[zlib.crc32(f"{key} {i}".encode()) for key in keys for i in range(copies)],
        )
        replies: list[list[WrittenText]] = [[] for _ in dialogues]
        for row, several in enumerate(hypotheses):
            seen = self._seen(turns, int(last[row // copies]))
            for each in several:
                tokens = self.text.vocabulary.tokens(each.tokens)
                replies[row // copies].append(WrittenText.of(each, tokens, self.text, seen))
        return [sorted(of_one, key=lambda reply: -reply.score) for of_one in replies]

    def _seen(self, turns: Turns, last: int) -> tuple[str, ...]:
        """The tokens that attention sees from a turn on back, in the order in which they were
        said."""
        first = last - min(self.model.reach - 1, int(turns.place[last]))
        tokens = [
            token
            for row in range(first, last + 1)
            for token in turns.tokens[row, : turns.lengths[row]].tolist()
        ]
        return tuple(self.text.vocabulary.tokens(tokens))

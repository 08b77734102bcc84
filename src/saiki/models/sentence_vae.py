"""Sentences as codes: a sequence VAE with the language that it reads and writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saiki.decoding.decode import Hypothesis, Search
from saiki.errors import InputError
from saiki.models.encoder import leaves
from saiki.models.seq2seq import NEVER_WRITTEN
from saiki.models.sequence_vae import SequenceVAE, nested
from saiki.nn.latent import Bound
from saiki.saving.pretrained import DescribedModule
from saiki.text import END, FIRST, UNKNOWN, Text

CODES_AT_ONCE = 256
"""That are decoded together."""
SCORES_AT_ONCE = 2**25
"""Numbers that are computed together where a sentence is judged with many codes, about."""


@dataclass(frozen=True)
class Sentence:
    """What a code leads to."""

    text: str
    tokens: tuple[int, ...]
    """Without the end."""
    log_probability: float
    """Of its tokens, given the code."""
    finished: bool


class SentenceVAE(DescribedModule, name="sentence_vae.v1"):
    """Makes codes of sentences, and sentences of codes.

    Args:
        model: of tokens.
        text: how a sentence is read and written.
        longest: tokens of a sentence that is written at most, the end not counted.

    Raises:
        InputError: the model is of vectors, or knows another number of tokens than the language.
    """

    def __init__(self, model: SequenceVAE, text: Text, longest: int = 60) -> None:
        super().__init__()
        known = None if model.embedding is None else model.embedding.num_embeddings
        if known != len(text.vocabulary):
            raise InputError(
                f"the model knows {known} tokens, and its language has {len(text.vocabulary)}"
            )
        self.model, self.text, self.longest = model, text, longest

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """See :meth:`SequenceVAE.forward`."""
        found: Tensor = self.model(tokens, lengths)
        return found

    def equations(self) -> str:
        return self.model.equations()

    @property
    def device(self) -> torch.device:
        return self.model.readout.weight.device

    def read(self, sentence: str) -> tuple[Tensor, list[str]]:
        """The numbers of a sentence and its end, ``(1, time)``, and its tokens.

        Raises:
            InputError: nothing stands in it, or it is not valid Unicode.
        """
        tokens = self.text.read(sentence)
        if not tokens:
            raise InputError(f"there is nothing to read in {sentence!r}; give a sentence")
        ids = [*self.text.vocabulary.ids(tokens), END]
        return torch.tensor([ids], device=self.device), tokens

    @torch.no_grad()
    def judge(
        self,
        tokens: Tensor,
        lengths: Tensor | None = None,
        samples: int = 1,
        generator: torch.Generator | None = None,
    ) -> Bound:
        """See :meth:`SequenceVAE.bound`; as much at once as there is room for."""
        posterior = self.model.posterior(tokens, lengths)
        each = tokens.numel() * self.model.decoder.output_size
        most = max(1, SCORES_AT_ONCE // each)
        z, likelihoods = posterior.draw(samples, generator=generator), list[Tensor]()
        for codes in z.split(most):
            likelihoods.append(self.model.log_likelihood(tokens, codes, lengths))
        return Bound.of(torch.cat(likelihoods), z, posterior)

    @torch.no_grad()
    def write(
        self,
        z: Tensor,
        search: Search | None = None,
        limit: int = 0,
        begin_with: str = "",
        must_hold: Sequence[str] = (),
    ) -> list[list[Sentence]]:
        """The sentences of codes ``(batch, latent_size)``, ``search.n_best`` of each, the best
        first; greedily without a search.

        Args:
            limit: tokens at most, beside those that it must begin with or hold; ``longest`` if 0.
            begin_with: how each begins.
            must_hold: phrases that each holds.

        Raises:
            InputError: a phrase cannot be written.
        """
        search, limit = search or Search("greedy"), limit or self.longest
        begun = self.text.phrase(begin_with)
        held = [self.text.phrase(phrase) for phrase in must_hold]
        limit += len(begun) + sum(map(len, held))
        found = list[list[Sentence]]()
        for at in range(0, len(z), CODES_AT_ONCE):
            codes = z[at : at + CODES_AT_ONCE]
            hypotheses = self.model.hypotheses(
                codes,
                [limit] * len(codes),
                search,
                prefixes=[begun] * len(codes) if begun else None,
                forced=[held] * len(codes) if held else None,
                keys=range(at, at + len(codes)),
            )
            found += [[self._sentence(each) for each in its] for its in hypotheses]
        return found

    def _sentence(self, found: Hypothesis) -> Sentence:
        text = self.text.decode(found.tokens)
        return Sentence(text, found.tokens, found.log_probability, found.finished)


class SentenceEncoding(nn.Module):
    """The encoder alone: from tokens and lengths to the means and log-variances of codes."""

    def __init__(self, model: SequenceVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Of sentences ``(batch, time)``, each with END as its last token."""
        posterior = self.model.posterior(tokens, lengths)
        return posterior.mean, posterior.log_variance


class SentenceStart(nn.Module):
    """From codes ``(batch, latent_size)`` to the states of the decoder before its first step."""

    def __init__(self, model: SequenceVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, code: Tensor) -> tuple[Tensor, ...]:
        return tuple(leaves(self.model.begin(code)))


class SentenceStep(nn.Module):
    """One token further, for programs that decode by themselves."""

    def __init__(self, model: SequenceVAE) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, token: Tensor, state: tuple[Tensor, ...], code: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """ln p of the next token, ``(batch, vocabulary)``, −∞ for what is no word, and the states
        after it.

        Args:
            token: the last one of each row, ``(batch,)``; BEGIN at first.
            state: that of the step before; at first that of :class:`SentenceStart`, and 0 without a
                code.
            code: ``(batch, latent_size)``, where there is one.
        """
        z = self.model.readout.weight.new_zeros(token.shape[0], 0) if code is None else code
        before = nested(self.model.decoder, iter(state))
        p, _, after = self.model.advance(token, before, z)
        never = torch.tensor([*NEVER_WRITTEN, UNKNOWN], device=p.device)
        return p.index_fill(-1, never, -torch.inf), *leaves(after)


def parts_of(model: SentenceVAE) -> dict[str, tuple[nn.Module, Any]]:
    """What makes codes, the first states of them, and one step of what writes; of a language model
    without codes the last alone."""
    of_tokens, random = model.model, torch.Generator().manual_seed(0)
    tokens = torch.randint(FIRST, (3, 7), generator=random).to(model.device)
    z = of_tokens.codes(3)
    start, step = SentenceStart(of_tokens), SentenceStep(of_tokens)
    with torch.no_grad():
        states = start(z)
    if of_tokens.encoder is None:
        return {"decoder": (step, (tokens[:, 0], states))}
    return {
        "encoder": (SentenceEncoding(of_tokens), (tokens, torch.tensor([4, 7, 2]))),
        "start": (start, z),
        "decoder": (step, (tokens[:, 0], states, z)),
    }

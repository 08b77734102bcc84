"""Sentences as codes: a sequence VAE with the language that it reads and writes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saiki.decoding.decode import Hypothesis, Search
from saiki.errors import InputError
from saiki.models.parts import Part, Parts
from saiki.models.sequence_vae import SequenceVAE
from saiki.nn.latent import Bound
from saiki.saving.pretrained import DescribedModule
from saiki.text import END, FIRST, Text

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
        likelihood: Tensor = self.model(tokens, lengths)
        return likelihood

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
        prefix = self.text.phrase(begin_with)
        held = [self.text.phrase(phrase) for phrase in must_hold]
        limit += len(prefix) + sum(map(len, held))
        sentences = list[list[Sentence]]()
        for at in range(0, len(z), CODES_AT_ONCE):
            codes = z[at : at + CODES_AT_ONCE]
            hypotheses = self.model.hypotheses(
                codes,
                [limit] * len(codes),
                search,
                prefixes=[prefix] * len(codes) if prefix else None,
                forced=[held] * len(codes) if held else None,
                keys=range(at, at + len(codes)),
            )
            sentences += [[self._sentence(each) for each in row] for row in hypotheses]
        return sentences

    def _sentence(self, hypothesis: Hypothesis) -> Sentence:
        text = self.text.decode(hypothesis.tokens)
        return Sentence(text, hypothesis.tokens, hypothesis.log_probability, hypothesis.finished)


@torch.no_grad()
def parts_of(model: SequenceVAE) -> Parts:
    """What makes codes, the first states of them, and one step of what writes; of a language model
    without codes the last alone."""
    random, z = torch.Generator().manual_seed(0), model.codes(3)
    tokens = torch.randint(FIRST, (3, 7), generator=random).to(z.device)
    step, states = Part(model, "next_token"), model.start_states(z)
    if model.encoder is None:
        return {"decoder": (step, (tokens[:, 0], states))}
    return {
        "encoder": (Part(model, "encoding"), (tokens, torch.tensor([4, 7, 2]))),
        "start": (Part(model, "start_states"), z),
        "decoder": (step, (tokens[:, 0], states, z)),
    }

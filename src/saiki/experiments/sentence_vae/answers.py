"""What a model of sentences makes of those of its user."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from saiki.experiments.groups.latent import between
from saiki.metrics.text import perplexity
from saiki.models.sentence_vae import Sentence, SentenceVAE
from saiki.prediction import Prediction

NEXT = " | "
"""What stands between sentences whose way to each other is wanted."""
Writer = Callable[[Tensor, int], list[list[Sentence]]]
"""From codes, and tokens that there must be room for, to the sentences of each."""


@torch.no_grad()
def prediction_of(
    model: SentenceVAE, text: str, write: Writer, samples: int, count: int, seed: int
) -> Prediction:
    """What comes back of a sentence; of several with ``NEXT`` between them, what is written on the
    way from each to the next.

    Args:
        samples: codes drawn for the bound of a sentence, by this seed.
        count: sentences between two.

    Raises:
        InputError: nothing stands in a sentence.
    """
    sentences = [part for part in text.split(NEXT) if part.strip()] or [text]
    read = [model.read(sentence) for sentence in sentences]
    words = model.text.vocabulary
    unknown = [token for _, tokens in read for token in tokens if token not in words]
    rows = [tokens for tokens, _ in read]
    codes = torch.cat([model.model.posterior(tokens).mean for tokens in rows])
    if len(rows) > 1:
        found = _way(codes, write, count, max(tokens.shape[1] for tokens in rows))
    else:
        found = _back(model, rows[0], codes, write, samples, seed)
    return replace(found, input=text, unknown=unknown)


def _way(codes: Tensor, write: Writer, count: int, longest: int) -> Prediction:
    pairs = itertools.pairwise(codes)
    line = torch.cat([*(between(*pair, count + 2)[:-1] for pair in pairs), codes[-1:]])
    found = [best.text for best, *_ in write(line, longest)]
    return Prediction(output=found, figures={"code": codes.tolist()}, text="\n".join(found))


def _back(
    model: SentenceVAE, tokens: Tensor, codes: Tensor, write: Writer, samples: int, seed: int
) -> Prediction:
    [written] = write(codes, tokens.shape[1])
    noise = torch.Generator(model.device).manual_seed(seed)
    bound = model.judge(tokens, None, samples, noise)
    p = bound.importance_weighted.item()
    each = perplexity(-p / tokens.shape[1])
    texts = [sentence.text for sentence in written]
    least = "at least " if codes.shape[1] else ""
    figures = {
        "code": codes[0].tolist(),
        "log_probability": p,
        "kl": bound.divergence.sum().item(),
        "perplexity": each,
    }
    return Prediction(
        output=texts[0],
        alternatives=texts[1:],
        figures=figures,
        text="\n".join([*texts, f"  ln p {least}{p:.1f}, perplexity {each:.1f}"]),
    )

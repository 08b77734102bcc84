"""What a model of sentences makes of those of its user."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saiki.experiments.groups.latent import between
from saiki.metrics.text import perplexity
from saiki.models.sentence_vae import Sentence, SentenceVAE

NEXT = " | "
"""What stands between sentences whose way to each other is wanted."""
Writer = Callable[[Tensor, int], list[list[Sentence]]]
"""From codes, and tokens that there must be room for, to the sentences of each."""


@torch.no_grad()
def answer(
    model: SentenceVAE, text: str, write: Writer, samples: int, count: int, seed: int
) -> dict[str, Any]:
    """What comes back of a sentence; of several with ``NEXT`` between them, what is written on the
    way from each to the next.

    Args:
        samples: codes drawn for the bound of a sentence, by this seed.
        count: sentences between two.

    Raises:
        InputError: nothing stands in a sentence.
    """
    said = [part for part in text.split(NEXT) if part.strip()] or [text]
    read = [model.read(sentence) for sentence in said]
    unknown = [t for _, its in read for t in its if t not in model.text.vocabulary]
    rows = [tokens for tokens, _ in read]
    codes = torch.cat([model.model.posterior(tokens).mean for tokens in rows])
    if len(rows) > 1:
        found = _way(codes, write, count, max(tokens.shape[1] for tokens in rows))
    else:
        found = _back(model, rows[0], codes, write, samples, seed)
    return {"input": text, **found, "unknown": unknown}


def _way(codes: Tensor, write: Writer, count: int, longest: int) -> dict[str, Any]:
    pairs = itertools.pairwise(codes)
    line = torch.cat([*(between(*pair, count + 2)[:-1] for pair in pairs), codes[-1:]])
    found = [best.text for best, *_ in write(line, longest)]
    return {"output": found, "code": codes.tolist(), "text": "\n".join(found)}


def _back(
    model: SentenceVAE, tokens: Tensor, codes: Tensor, write: Writer, samples: int, seed: int
) -> dict[str, Any]:
    [written] = write(codes, tokens.shape[1])
    noise = torch.Generator(model.device).manual_seed(seed)
    bound = model.judge(tokens, None, samples, noise)
    p = bound.importance_weighted.item()
    each = perplexity(-p / tokens.shape[1])
    texts = [sentence.text for sentence in written]
    least = "at least " if codes.shape[1] else ""
    told = f"ln p {least}{p:.1f}, perplexity {each:.1f}"
    return {
        "output": texts[0],
        "alternatives": texts[1:],
        "code": codes[0].tolist(),
        "log_probability": p,
        "kl": bound.divergence.sum().item(),
        "perplexity": each,
        "text": "\n".join([*texts, f"  {told}"]),
    }

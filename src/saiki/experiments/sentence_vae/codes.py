"""What a model of sentences makes of those that it has not learned from."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from saiki.data.text.masking import TokenRows
from saiki.data.text.sentence_rows import by_length, spread
from saiki.decoding.decode import Search
from saiki.experiment import placed
from saiki.experiments.groups.latent import LatentMeasures, between
from saiki.experiments.groups.markdown import table
from saiki.files import write_text
from saiki.metrics.text import perplexity
from saiki.models.sentence_vae import Sentence, SentenceVAE
from saiki.prediction import Prediction
from saiki.text import END, UNKNOWN

FILE = "sentences.md"
SHOWN, NEIGHBOURS, AMONG = 10, 3, 5000
"""New sentences in it; and near ones, among so many of those learned from."""
PATHS, BETWEEN = 3, 4
"""Ways from one sentence to another, and sentences between them."""
SHORT = 10
"""Tokens of a sentence that is shown at most."""


NEXT = " | "
"""What stands between sentences whose way to each other is wanted."""
Writer = Callable[[Tensor, int], list[list[Sentence]]]
"""From codes, and tokens that there must be room for, to the sentences of each."""


@dataclass(frozen=True, eq=False)
class SentenceMeasures(LatentMeasures):
    """Of each sentence, in float64; of ln p(x | z) the mean over the codes drawn.

    Args:
        bounds: of ln p(x), importance-weighted, ``(sentences,)``.
        tokens: of all of them, their ends among these.
    """

    bounds: Tensor
    tokens: int

    @property
    def nll(self) -> float:
        """−ln p(x) of a sentence at most, in the mean."""
        return -self.bounds.mean().item()

    @property
    def nll_of_token(self) -> float:
        return -self.bounds.sum().item() / self.tokens


def measure_sentences(model: SentenceVAE, rows: TokenRows, samples: int = 1) -> SentenceMeasures:
    """What becomes of each of the sentences, with so many codes drawn; always the same ones."""
    noise, parts, places = torch.Generator(model.device).manual_seed(0), [], []
    for at, batch in by_length(rows):
        tokens, lengths = placed(tuple(batch), model)
        bound = model.judge(tokens, lengths, samples, noise)
        p, q = bound.log_likelihood.mean(0), bound.importance_weighted
        columns = (p, bound.divergence, bound.code, q)
        parts.append(tuple(column.to("cpu", torch.float64) for column in columns))
        places.append(at)
    order = torch.from_numpy(np.concatenate(places).argsort())
    a, b, c, d = (torch.cat(column)[order] for column in zip(*parts, strict=True))
    return SentenceMeasures(a, b, c, d, len(rows.tokens))


def reconstruction_accuracy(model: SentenceVAE, rows: TokenRows, codes: Tensor) -> float:
    """The share of tokens, the ends among them, that stand at their place in what is written
    greedily from the codes of sentences."""
    longest = int(rows.lengths.max()) - 1
    written = model.write(placed(codes, model), limit=max(1, longest))
    right = 0
    for row, (best, *_) in zip(rows.rows(), written, strict=True):
        back = [*best.tokens, *[END] * best.finished]
        right += sum(a == b for a, b in zip(row.tolist(), back, strict=False))
    return right / len(rows.tokens)


def shown_of(rows: TokenRows) -> TokenRows:
    """Short sentences of known words; all where there are none."""
    known = [row for row in rows.rows() if len(row) <= SHORT + 1 and UNKNOWN not in row]
    return spread(TokenRows.of(known or rows.rows()), 2 * PATHS)


def paths(model: SentenceVAE, rows: TokenRows) -> list[list[str]]:
    """Each pair of two sentences, as they stand in the text, and what is written between them."""
    codes = placed(measure_sentences(model, rows).codes, model)
    texts = [model.text.decode(row.tolist()) for row in rows.rows()]
    pairs = list[list[str]]()
    for i in range(0, len(texts) - 1, 2):
        written = model.write(between(codes[i], codes[i + 1], BETWEEN + 2))
        pairs.append([texts[i], *(best.text for best, *_ in written), texts[i + 1]])
    return pairs


def new(model: SentenceVAE, count: int, search: Search) -> list[str]:
    """Sentences of codes drawn from N(0, 1)."""
    noise = torch.Generator(model.device).manual_seed(0)
    return [best.text for best, *_ in model.write(model.model.codes(count, noise), search)]


def near(model: SentenceVAE, rows: TokenRows, others: TokenRows) -> list[list[str]]:
    """Each of the sentences, and those of the others whose codes are nearest to its own."""
    some = spread(others, AMONG)
    mine, theirs = (measure_sentences(model, part).codes for part in (rows, some))
    texts, count = list(some.rows()), min(NEIGHBOURS, len(some))
    nearest = torch.cdist(mine, theirs).topk(count, largest=False).indices.tolist()
    decode = model.text.decode
    return [
        [decode(row.tolist()), "<br>".join(decode(texts[i].tolist()) for i in places)]
        for row, places in zip(rows.rows(), nearest, strict=True)
    ]


def write_table(path: Path, model: SentenceVAE, test: TokenRows, learned: TokenRows) -> Path:
    """What codes lead to, in Markdown: on the way from one sentence to another, from N(0, 1), and
    beside each other."""
    parts, columns = list[str](), {"drawn word by word": new(model, SHOWN, Search("sample"))}
    if model.model.latent_size:
        rows = shown_of(test)
        for first, *middle, last in paths(model, rows):
            written = table(["written"], [[text] for text in middle])
            parts.append(f"From “{first}” to “{last}”\n\n{written}")
        nearest = table(["sentence", "nearest"], near(model, rows, learned))
        parts.append(f"Nearest by their codes\n\n{nearest}")
        columns["the most probable"] = new(model, SHOWN, Search("greedy"))
    rows_of_new = list(zip(*columns.values(), strict=True))
    parts.append(f"New sentences\n\n{table([*columns], rows_of_new)}")
    write_text(path, "\n".join(parts))
    return path


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
    longest = max(tokens.shape[1] for tokens in rows)
    if len(rows) > 1:
        pairs = itertools.pairwise(codes)
        line = torch.cat([*(between(*pair, count + 2)[:-1] for pair in pairs), codes[-1:]])
        texts = [best.text for best, *_ in write(line, longest)]
        figures: dict[str, Any] = {"code": codes.tolist()}
        return Prediction(
            input=text, output=texts, figures=figures, unknown=unknown, text="\n".join(texts)
        )
    texts = [sentence.text for sentence in write(codes, longest)[0]]
    noise = torch.Generator(model.device).manual_seed(seed)
    bound = model.judge(rows[0], None, samples, noise)
    p = bound.importance_weighted.item()
    figures = {
        "code": codes[0].tolist(),
        "log_probability": p,
        "kl": bound.divergence.sum().item(),
        "perplexity": perplexity(-p / longest),
    }
    least = "at least " if codes.shape[1] else ""
    line_of_p = f"  ln p {least}{p:.1f}, perplexity {figures['perplexity']:.1f}"
    return Prediction(
        input=text,
        output=texts[0],
        alternatives=texts[1:],
        figures=figures,
        unknown=unknown,
        text="\n".join([*texts, line_of_p]),
    )

"""What a model of sentences makes of those that it has not learned from."""

from dataclasses import dataclass
from pathlib import Path

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
from saiki.models.sentence_vae import Sentence, SentenceVAE
from saiki.text import END, UNKNOWN

FILE = "sentences.md"
SHOWN, NEIGHBOURS, AMONG = 10, 3, 5000
"""New sentences in it; and near ones, among so many of those learned from."""
WAYS, BETWEEN = 3, 4
"""Ways from one sentence to another, and sentences between them."""
SHORT = 10
"""Tokens of a sentence that is shown at most."""


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
        found = model.judge(tokens, lengths, samples, noise)
        its = found.log_likelihood.mean(0), found.divergence, found.code, found.importance_weighted
        parts.append(tuple(tensor.to("cpu", torch.float64) for tensor in its))
        places.append(at)
    order = torch.from_numpy(np.concatenate(places).argsort())
    a, b, c, d = (torch.cat(its)[order] for its in zip(*parts, strict=True))
    return SentenceMeasures(a, b, c, d, len(rows.tokens))


def reconstruction_accuracy(model: SentenceVAE, rows: TokenRows, codes: Tensor) -> float:
    """The share of tokens, the ends among them, that stand at their place in what is written
    greedily from the codes of sentences."""
    longest = int(rows.lengths.max()) - 1
    found = model.write(placed(codes, model), limit=max(1, longest))
    right = 0
    for row, (best, *_) in zip(rows.rows(), found, strict=True):
        back = [*best.tokens, *[END] * best.finished]
        right += sum(a == b for a, b in zip(row.tolist(), back, strict=False))
    return right / len(rows.tokens)


def shown_of(rows: TokenRows) -> TokenRows:
    """Short sentences of known words; all where there are none."""
    known = [row for row in rows.rows() if len(row) <= SHORT + 1 and UNKNOWN not in row]
    return spread(TokenRows.of(known or rows.rows()), 2 * WAYS)


def way(model: SentenceVAE, a: Tensor, b: Tensor, count: int) -> list[list[Sentence]]:
    """What is written on the way from one code to another, so many sentences between both."""
    return model.write(between(a, b, count + 2))


def ways(model: SentenceVAE, rows: TokenRows) -> list[list[str]]:
    """Each pair of two sentences, as they stand in the text, and what is written between them."""
    codes = placed(measure_sentences(model, rows).codes, model)
    texts = [model.text.decode(row.tolist()) for row in rows.rows()]
    found = list[list[str]]()
    for i in range(0, len(texts) - 1, 2):
        written = [best.text for best, *_ in way(model, codes[i], codes[i + 1], BETWEEN)]
        found.append([texts[i], *written, texts[i + 1]])
    return found


def new(model: SentenceVAE, count: int, search: Search) -> list[str]:
    """Sentences of codes drawn from N(0, 1)."""
    noise = torch.Generator(model.device).manual_seed(0)
    return [best.text for best, *_ in model.write(model.model.codes(count, noise), search)]


def near(model: SentenceVAE, rows: TokenRows, others: TokenRows) -> list[list[str]]:
    """Each of the sentences, and those of the others whose codes are nearest to its own."""
    some = spread(others, AMONG)
    mine, theirs = (measure_sentences(model, its).codes for its in (rows, some))
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
        for first, *middle, last in ways(model, rows):
            written = table(["written"], [[text] for text in middle])
            parts.append(f"From “{first}” to “{last}”\n\n{written}")
        nearest = table(["sentence", "nearest"], near(model, rows, learned))
        parts.append(f"Nearest by their codes\n\n{nearest}")
        columns["the most probable"] = new(model, SHOWN, Search("greedy"))
    rows_of_new = list(zip(*columns.values(), strict=True))
    parts.append(f"New sentences\n\n{table([*columns], rows_of_new)}")
    write_text(path, "\n".join(parts))
    return path

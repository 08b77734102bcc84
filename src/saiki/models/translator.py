"""Text in, text out: an encoder-decoder with the two languages it knows."""

import math
import zlib
from collections.abc import Container, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from saiki.decoding.decode import Hypothesis, Search
from saiki.errors import InputError
from saiki.models.seq2seq import Seq2Seq, WrittenText
from saiki.prediction import Prediction
from saiki.progress import each
from saiki.saving.pretrained import DescribedModule
from saiki.text import END, UNKNOWN, Text
from saiki.text.rows import padded, together

ROWS_AT_ONCE, WEIGHTS_AT_ONCE = 64, 2**26
"""Sentences decoded together, sorted by length, so that there is little padding; and weights that
are kept of them: a token of each hypothesis may look at each token of its source."""


class Translator(DescribedModule, name="translator.v1"):
    """Writes a text for a text, with one model or the mean of several.

    Args:
        models: of the same two languages; more than one is an ensemble.
        source: the language that is read.
        target: the language that is written.

    Raises:
        InputError: there is no model, or one knows another number of tokens than its language has.
    """

    def __init__(self, models: Sequence[Seq2Seq], source: Text, target: Text) -> None:
        super().__init__()
        if not models:
            raise InputError("a translator needs at least one model")
        for model in models:
            sizes = model.encoder.embedding.num_embeddings, model.decoder.embedding.num_embeddings
            wanted = len(source.vocabulary), len(target.vocabulary)
            if sizes != wanted:
                raise InputError(f"the model knows {sizes} tokens, and its languages have {wanted}")
        self.models = nn.ModuleList(models)
        self.source = source
        self.target = target

    @property
    def members(self) -> list[Seq2Seq]:
        """The models, in a list of their own."""
        return cast(list[Seq2Seq], list(self.models))

    def forward(
        self, source: Tensor, source_lengths: Tensor, target: Tensor, target_lengths: Tensor
    ) -> Tensor:
        """Log-probabilities ``(batch, time, vocabulary)`` of what follows each token of ``target``:
        those of :class:`saiki.models.seq2seq.Seq2Seq`, or of the mean of several."""
        log_probabilities = [
            model(source, source_lengths, target, target_lengths) for model in self.members
        ]
        return torch.stack(log_probabilities).logsumexp(0) - math.log(len(log_probabilities))

    def equations(self) -> str:
        """Those of its model, or of one of several."""
        return self.members[0].equations()

    def together_with(self, other: "Translator") -> "Translator":
        """With the models of another one; the mean of all decides.

        Raises:
            InputError: it does not know the same tokens.
        """
        for mine, theirs in ((self.source, other.source), (self.target, other.target)):
            if mine.vocabulary.words != theirs.vocabulary.words:
                raise InputError("does not know the same tokens, so it cannot decide too")
        return Translator([*self.members, *other.members], self.source, self.target)

    def encoded(self, text: str) -> list[int]:
        """The source as the encoder reads it: its tokens, and the end."""
        return [*self.source.vocabulary.ids(self.source.read(text)), END]

    def translate(
        self,
        texts: Sequence[str],
        search: Search,
        longest: float = 2.0,
        copy_unknown: bool = False,
        prefixes: Sequence[str] | None = None,
        forced: Sequence[Sequence[str]] | None = None,
    ) -> list[list[WrittenText]]:
        """The best translations of each text, the best first.

        Args:
            longest: tokens that a translation has at most, for each of its source; and ten more,
                and as many as it must hold. What sampling draws for a text depends on the text and
                the seed of ``search``.
            copy_unknown: put the source token that the attention looked at most in the place of
                each unknown word (Luong et al. 2015b; Jean et al. 2015, §3.3). Without it, and
                without attention, an unknown word is never written.
            prefixes: how each translation begins.
            forced: phrases that each translation must hold.

        Raises:
            InputError: a text is empty, or copying is asked of a model without attention.
        """
        first, *others = self.members
        if copy_unknown and any(model.decoder.attention is None for model in (first, *others)):
            raise InputError("a model without attention cannot copy: it does not know from where")
        sources = [self.encoded(text) for text in texts]
        for text, ids in zip(texts, sources, strict=True):
            if len(ids) < 2:
                raise InputError(f"there is nothing to translate in {text!r}")
        beginnings = [self.target.phrase(text) for text in prefixes] if prefixes else None
        held = None
        if forced is not None:
            held = [[self.target.phrase(phrase) for phrase in phrases] for phrases in forced]
        limits = [
            int(longest * len(ids))
            + 10
            + (len(beginnings[i]) if beginnings else 0)
            + (sum(map(len, held[i])) if held else 0)
            for i, ids in enumerate(sources)
        ]
        count = max(search.beam, search.n_best)
        sizes = [len(ids) * limit * count for ids, limit in zip(sources, limits, strict=True)]
        translations: dict[int, list[WrittenText]] = {}
        for rows in each(list(together(sizes, ROWS_AT_ONCE, WEIGHTS_AT_ONCE))):
            tokens, lengths = padded([sources[i] for i in rows])
            hypotheses = first.decode(
                tokens,
                lengths,
                [limits[i] for i in rows],
                search,
                also=others,
                unknown=copy_unknown,
                prefixes=[beginnings[i] for i in rows] if beginnings else None,
                forced=[held[i] for i in rows] if held else None,
                keys=[zlib.crc32(texts[i].encode()) for i in rows],
            )
            for i, hypotheses_of_row in zip(rows, hypotheses, strict=True):
                translations[i] = [
                    self._translation(h, texts[i], copy_unknown) for h in hypotheses_of_row
                ]
        return [translations[i] for i in range(len(texts))]

    def _translation(self, hypothesis: Hypothesis, text: str, copy_unknown: bool) -> WrittenText:
        source = [*self.source.read(text), "</s>"]
        tokens = self.target.vocabulary.tokens(hypothesis.tokens)
        weights = hypothesis.weights
        if copy_unknown and weights is not None:
            for i, token in enumerate(hypothesis.tokens):
                if token == UNKNOWN:  # the end of the source is no word
                    tokens[i] = source[int(weights[i, : len(source) - 1].argmax())]
        return WrittenText.of(hypothesis, tokens, self.target, source)


def prediction_of(
    text: str, translations: Sequence[WrittenText], known: Container[str]
) -> Prediction:
    """The translations of a text, the best first, by name and for people.

    Args:
        known: the tokens of a source that the model knows.
    """
    best = translations[0]
    several = [
        {"output": t.text, "log_probability": t.log_probability, "score": t.score}
        for t in translations
    ]
    lines = [f"{t.score:8.3f}  {t.text}" for t in translations]
    return Prediction(
        input=text,
        output=best.text,
        figures={"log_probability": best.log_probability, "finished": best.finished},
        alternatives=several if len(translations) > 1 else None,
        unknown=[token for token in best.source[:-1] if token not in known],
        text="\n".join(lines) if len(translations) > 1 else best.text,
    )

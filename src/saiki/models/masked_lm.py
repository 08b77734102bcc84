"""A language model that restores hidden words from what stands around them."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from saiki.cell import Cell
from saiki.errors import InputError
from saiki.layers import equations
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.layers.stack import Layer
from saiki.models.encoder import Encoder
from saiki.prediction import Prediction
from saiki.saving.pretrained import DescribedModule
from saiki.text import END, FIRST, MASK, PAD, SPECIAL, BytePair, Text, Vocabulary


@dataclass(frozen=True)
class Restored:
    """A text whose hidden words are filled in."""

    text: str
    """With the most probable word in the place of each ``[MASK]``."""
    candidates: tuple[tuple[tuple[str, float], ...], ...]
    """For each ``[MASK]`` the most probable words and their probabilities, the best first."""
    unknown: tuple[str, ...]
    """Words of the text that the model does not know."""

    def prediction(self, text: str) -> Prediction:
        """All of it, by name and for people, of the text that it was before."""
        lines = [self.text]
        for number, words in enumerate(self.candidates, 1):
            if len(self.candidates) > 1:
                lines.append(f"{SPECIAL[MASK]} {number}")
            lines += [f"  {p:6.1%}  {word}" for word, p in words]
        candidates = [
            [{"word": word, "probability": p} for word, p in words] for words in self.candidates
        ]
        return Prediction(
            input=text,
            output=self.text,
            figures={"candidates": candidates},
            unknown=self.unknown,
            text="\n".join(lines),
        )


SCORES_AT_ONCE = 2**25
"""Of words in all places of texts that are restored."""


class MaskedLM(DescribedModule, name="masked_lm.v1"):
    """An encoder and a softmax layer over words (Devlin et al. 2019, §3.1, whose encoder is a
    Transformer).

    ::

        y = encoder(x)                      x holds [MASK] in the place of some words
        p(word at t) = softmax(E W yᵗ + b)

    E is the table of embeddings of the encoder, without the special entries, and W brings y to the
    size of an embedding; it is left out where they agree. A model that is not ``tied`` has a table
    of its own for E, and no W.

    A bidirectional layer sees a word of its own position from the second layer on, through the
    other positions of the first. With ordinary words this would make prediction trivial; here what
    stands at the position is hidden, so there is nothing to be seen. With an encoder of one
    direction a word is restored from what stands before it.

    Args:
        encoder: knows as many tokens as ``text``.
        text: how a text becomes tokens. Each row that is read ends with END, as a
            :class:`saiki.models.translator.Translator` reads its source.
        tied: whether E is the table of embeddings (Press & Wolf 2017).

    Raises:
        InputError: the encoder knows another number of tokens, or there are no words.
    """

    def __init__(self, encoder: Encoder, text: Text, tied: bool = True) -> None:
        super().__init__()
        known, words = encoder.embedding.num_embeddings, len(text.vocabulary) - FIRST
        if known != len(text.vocabulary):
            raise InputError(
                f"the encoder knows {known} tokens, and the vocabulary has {len(text.vocabulary)}"
            )
        if words < 1:
            raise InputError("a masked language model needs a vocabulary with one word at least")
        self.encoder = encoder
        self.text = text
        size, embedding_size = encoder.output_size, encoder.embedding.embedding_dim
        self.projection = self.output = None
        if not tied:
            self.output = nn.Parameter(torch.empty(words, size))
            nn.init.normal_(self.output, std=size**-0.5)
        elif size != embedding_size:
            self.projection = nn.Linear(size, embedding_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(words))

    def forward(self, tokens: Tensor, lengths: Tensor, places: Tensor | None = None) -> Tensor:
        """The pre-activations of the softmax, ``(batch, time, words)``; or ``(places, words)``, row
        after row, at some places only, which takes that much less time. Word number i is entry
        ``i + FIRST`` of the vocabulary.

        Args:
            tokens: ``(batch, time)``.
            lengths: ``(batch,)``, the tokens of each row.
            places: ``(batch, time)``, true where a word has to be restored.
        """
        y, _ = self.encoder(tokens, lengths)
        return self._scores(y if places is None else y[places])

    def _scores(self, y: Tensor) -> Tensor:
        if self.projection is not None:
            y = self.projection(y)
        words = self.encoder.embedding.weight[FIRST:] if self.output is None else self.output
        return F.linear(y, words, self.bias)

    def equations(self) -> str:
        layers = equations.of_layer(self.encoder.recurrent)
        words = "E" if self.output is None else "U"
        words += " W" if self.projection is not None else ""
        return f"{layers}\np(word at t) = softmax({words} yᵗ + b)"

    def read(self, text: str) -> tuple[list[str], list[int]]:
        """The tokens of a text in which words are hidden, and their numbers, the end among them.

        A byte-pair token holds the space before its word, so there a space before ``[MASK]`` is
        part of what is hidden.

        Raises:
            InputError: the text has no ``[MASK]``.
        """
        hidden = SPECIAL[MASK]
        if hidden not in text:
            shown = text if len(text) <= 80 else f"{text[:80]}…"
            raise InputError(
                f"write {hidden} in the place of each word to be restored, as in "
                f"'the {hidden} sat on the mat', got {shown!r}"
            )
        tokens = self.text.read(self._closed(text))
        return tokens, [*self.text.vocabulary.ids(tokens), END]

    def _closed(self, text: str) -> str:
        if not isinstance(self.text.tokeniser, BytePair):
            return text
        return text.replace(f" {SPECIAL[MASK]}", SPECIAL[MASK])

    @torch.no_grad()
    def restore(self, texts: Sequence[str], count: int = 5) -> list[Restored]:
        """Fill in each ``[MASK]`` of each text, each by itself: of two, none knows what the other
        one will be.

        Args:
            count: candidates for each.

        Raises:
            InputError: a text has no ``[MASK]``.
        """
        read = [self.read(text) for text in texts]
        lengths = torch.tensor([len(ids) for _, ids in read])
        rows = pad_sequence([torch.tensor(ids) for _, ids in read], True, PAD).to(self.bias.device)
        y, _ = self.encoder(rows, lengths)
        most = max(1, SCORES_AT_ONCE // len(self.bias))
        candidates = iter(
            [each for part in y[rows == MASK].split(most) for each in self._best(part, count)]
        )
        return [
            self._filled(self._closed(text), [next(candidates) for i in ids if i == MASK], tokens)
            for text, (tokens, ids) in zip(texts, read, strict=True)
        ]

    def _best(self, y: Tensor, count: int) -> list[tuple[list[int], list[float]]]:
        """The most probable words at some places, and their probabilities."""
        p = self._scores(y).softmax(-1)
        best = p.topk(min(count, p.shape[1]))
        return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))

    def _filled(
        self, text: str, best: Sequence[tuple[list[int], list[float]]], tokens: Sequence[str]
    ) -> Restored:
        words = [
            [self.text.tokeniser.join(self.text.vocabulary.tokens([i + FIRST])) for i in numbers]
            for numbers, _ in best
        ]
        first, *rest = text.split(SPECIAL[MASK])
        filled = (
            f"{words_of_place[0]}{part}" for words_of_place, part in zip(words, rest, strict=True)
        )
        candidates = tuple(
            tuple(zip((word.strip() or word for word in words_of_place), values, strict=True))
            for words_of_place, (_, values) in zip(words, best, strict=True)
        )
        unknown = (token for token in tokens if token not in self.text.vocabulary)
        return Restored(first + "".join(filled), candidates, tuple(dict.fromkeys(unknown)))

    @torch.no_grad()
    def hand_over(self, encoder: Encoder, vocabulary: Vocabulary) -> int:
        """Give ``encoder`` what this one has learned: all recurrent weights, and the embeddings of
        the special entries and of the words that both know. Other words keep what they have.

        Args:
            encoder: such as that of a :class:`saiki.models.seq2seq.Seq2Seq`.
            vocabulary: the words that it knows.

        Returns:
            The number of words that both know.

        Raises:
            InputError: cells, directions, depths or sizes differ, or ``vocabulary`` is not that of
                ``encoder``.
        """
        own = self.encoder
        if encoder.embedding.num_embeddings != len(vocabulary):
            raise InputError(
                f"the encoder knows {encoder.embedding.num_embeddings} tokens, and its vocabulary "
                f"has {len(vocabulary)}"
            )
        sizes = own.embedding.embedding_dim, encoder.embedding.embedding_dim
        if sizes[0] != sizes[1]:
            raise InputError(
                f"a token has {sizes[0]} features in the masked language model and {sizes[1]} in "
                "the encoder; choose the same embedding size"
            )
        plans = _in_words(own.recurrent), _in_words(encoder.recurrent)
        if plans[0] != plans[1]:
            raise InputError(
                f"the masked language model has the layers {plans[0]} and the encoder {plans[1]}; "
                "choose the same cell, direction, depth and sizes"
            )
        encoder.recurrent.load_state_dict(own.recurrent.state_dict())
        words = [w for w in vocabulary.words[FIRST:] if w in self.text.vocabulary]
        there = torch.tensor([*range(FIRST), *vocabulary.ids(words)])
        here = torch.tensor([*range(FIRST), *self.text.vocabulary.ids(words)])
        theirs = encoder.embedding.weight
        theirs[there] = own.embedding.weight[here].to(theirs)
        return len(words)


def _in_words(layer: Layer) -> str:
    """Layers in words: the same words only where weights mean the same."""
    match layer:
        case Recurrent():
            return f"{'reversed ' if layer.reverse else ''}{_cell(layer.cell)}"
        case Bidirectional():
            both = _in_words(layer.forward_layer), _in_words(layer.backward_layer)
            return f"({both[0]}, {both[1]}, merge={layer.merge!r})"
    return f"[{', '.join(_in_words(each) for each in layer.layers)}]"  # type: ignore[arg-type]


def _cell(cell: Cell) -> str:
    """Its name and the arguments that are not as they are by default."""
    parameters = inspect.signature(type(cell)).parameters
    arguments = cell.arguments().items()
    changed = (
        f"{n}={v!r}" for n, v in arguments if n not in parameters or v != parameters[n].default
    )
    return f"{type(cell).__name__}({', '.join(changed)})"

"""Where words come from, by their knobs: how sentences are cut, and which vectors words have."""

import copy
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.layers.stack import Layer
from saiki.models.masked_lm import MaskedLM
from saiki.models.word_features import VectorTable, WordFeatures, vocabulary_of
from saiki.models.word_vectors import WordVectors
from saiki.saving.pretrained import of_run
from saiki.text import FIRST, TOKENISERS, Text, tokeniser
from saiki.text.pipelines import GINZA, Pipeline, PipelineVectors, loaded
from saiki.text.tokenisers import PlainWords, Tokeniser, Word
from saiki.text.typed import WITHOUT_SPACES
from saiki.text.vectors import Vectors, read

NAMES = ("ginza", "pipeline", "scratch")
"""Vectors that are neither a file nor a run."""
OWN = tuple(name for name in TOKENISERS if name != "bpe")
"""Tokenisers that need nothing to learn from."""


class WordSource(Knobs):
    """The words of sentences and their vectors."""

    vectors: str = knob(
        "ginza",
        "of words: those of ginza; a file of them; the folder of a run of words, or of masked-lm, "
        "whose layers are taken too; pipeline: those of the pipeline that cuts; scratch: none",
        is_path=True,
        names=NAMES,
    )
    tokens: str = knob(
        "auto",
        f"what cuts a sentence: ginza, another spaCy pipeline, the code of a language that spaCy "
        f"has rules for, plain, {', '.join(OWN)}; auto: as the run of the vectors was cut, or else "
        "ginza for Japanese and plain for others",
    )
    norms: bool = knob(
        True, "whether a word is looked up by the form that its pipeline holds for the same word"
    )
    tuned: bool = knob(False, "whether the vectors are learned further")
    embedding_size: int = knob(
        64, "features of a word that are learned beside its vector", minimum=0, maximum=8192
    )
    minimum: int = knob(2, "times that a word occurs if it is to have such features", minimum=1)

    @cached_property
    def _run(self) -> tuple[MaskedLM | WordVectors | None, str]:
        """The model of the run that the vectors are of, if they are of a run, and how it cut."""
        if self.vectors in NAMES or not Path(self.vectors).is_dir():
            return None, "auto"
        model, about = of_run(self.vectors)
        name, knobs = about["run"]
        if not isinstance(model, MaskedLM | WordVectors):
            raise InputError(f"{self.vectors} is a run of {name}, not of words or masked-lm")
        return model, knobs["tokens"]

    @cached_property
    def table(self) -> VectorTable | None:
        """The vectors of words; None where there are none."""
        match self.vectors:
            case "scratch":
                return None
            case "ginza":
                return PipelineVectors(GINZA)
            case "pipeline":
                return PipelineVectors(self._pipeline)
        match self._run[0]:
            case WordVectors() as model:
                return model.vectors
            case MaskedLM() as model:
                weights = model.encoder.embedding.weight[FIRST:].detach().cpu().numpy()
                return Vectors(model.text.vocabulary.words[FIRST:], weights)
        if not Path(self.vectors).exists():
            raise InputError(
                f"there are no vectors {self.vectors}; give {', '.join(NAMES)}, a file of vectors, "
                "or the folder of a run of words or masked-lm"
            )
        return read(self.vectors)

    @property
    def _pipeline(self) -> str:
        return GINZA if self.tokens in ("auto", "ginza") else self.tokens

    @property
    def layers(self) -> Layer | None:
        """A copy of the layers that read these vectors in a run of masked-lm."""
        model, _ = self._run
        return copy.deepcopy(model.encoder.recurrent) if isinstance(model, MaskedLM) else None

    def tokeniser(self, texts: Sequence[str]) -> Tokeniser:
        """What cuts these texts.

        Raises:
            InputError: there is none of that name, or a library is missing.
        """
        name, (model, cut) = self.tokens, self._run
        if name == "auto" and isinstance(model, MaskedLM):
            return model.text.tokeniser
        name = cut if name == "auto" else name
        if name == "auto":
            unspaced = sum(bool(WITHOUT_SPACES.search(text)) for text in texts)
            name = "ginza" if 2 * unspaced > len(texts) else "plain"
        if name == "plain":
            return PlainWords()
        if name in OWN:
            return tokeniser(name)
        pipeline = GINZA if name == "ginza" else name
        loaded(pipeline)
        return Pipeline(pipeline, self.norms)

    def known(
        self, cutter: Tokeniser, train: Sequence[Sequence[Word]], others: Iterable[Sequence[Word]]
    ) -> tuple[Text, int]:
        """The words that are known, and how many entries may have features of their own; see
        :func:`saiki.models.word_features.vocabulary_of`."""
        table = {} if self.table is None else self.table
        words, learned = vocabulary_of(train, others, table, self.minimum)
        return Text(cutter, words), learned

    def build(self, text: Text, learned: int) -> WordFeatures:
        """A module that knows these words, with their vectors."""
        made = self.network(text, learned, 0 if self.table is None else self.table.size)
        if self.table is not None:
            made.load_vectors(self.table)
        return made

    def network(self, text: Text, learned: int, size: int) -> WordFeatures:
        """The same without vectors, of which there is room for ``size`` numbers each."""
        embedding_size = 0 if self.layers is not None else self.embedding_size
        return WordFeatures(text, learned, size, embedding_size, self.tuned)

    def others(self) -> VectorTable | None:
        """Where words that a trained model does not know may have a vector: in a pipeline, if it is
        installed here."""
        if self.vectors not in ("ginza", "pipeline"):
            return None
        try:
            return self.table
        except InputError:
            return None

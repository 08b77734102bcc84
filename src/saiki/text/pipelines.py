"""Pipelines of spaCy, such as GiNZA: how they cut a text, and their vectors."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saiki.errors import InputError, shown
from saiki.text.tokenisers import Tokeniser, Word, joined_without_spaces, pieces
from saiki.text.typed import WITHOUT_SPACES

GINZA = "ja_ginza"
"""The pipeline for Japanese that is meant by ``ginza``."""


class Pipeline(Tokeniser, name="spacy.v1"):
    """The tokens of a pipeline of spaCy, without what comes after its tokeniser.

    A token is looked up by its norm, then as it stands. The norm is what spaCy takes for the same
    word: GiNZA writes 凄い for 凄く, すごく and スゴイ, and knows many words by that form alone.

    Args:
        pipeline: an installed package, such as ``ja_ginza`` or ``en_core_web_md``, or the code of a
            language, such as ``de``, whose rules spaCy holds itself.
        norms: whether norms count; otherwise a token is looked up as it stands.
    """

    def __init__(self, pipeline: str = GINZA, norms: bool = True) -> None:
        self.pipeline = pipeline
        self.norms = norms

    def split(self, text: str) -> list[str]:
        return [word.text for word in self.words(text)]

    def words(self, text: str) -> list[Word]:
        """The tokens and their forms.

        Raises:
            InputError: spaCy or the pipeline is missing.
        """
        tokens = (t for part in pieces(text) for t in loaded(self.pipeline).make_doc(part))
        return [self._word(t.text.strip(), t.norm_) for t in tokens if not t.is_space]

    def _word(self, text: str, norm: str) -> Word:
        forms = (norm, text, text.lower()) if self.norms else (text, text.lower())
        return Word(text, tuple(dict.fromkeys(forms)))

    def join(self, tokens: Sequence[str]) -> str:
        spaced = not WITHOUT_SPACES.search("".join(tokens))
        return " ".join(tokens) if spaced else joined_without_spaces(tokens)


class PipelineVectors:
    """The vectors of a pipeline, asked word by word: several words may share one.

    Args:
        pipeline: an installed package.

    Raises:
        InputError: spaCy or the pipeline is missing, or it has no vectors.
    """

    def __init__(self, pipeline: str = GINZA) -> None:
        self._vocab = loaded(pipeline).vocab
        if not self._vocab.vectors_length:
            raise InputError(
                f"the spaCy pipeline {pipeline} has no vectors of words; take one that has, such "
                "as ja_ginza or en_core_web_md, or a file of vectors"
            )

    @property
    def size(self) -> int:
        """Numbers of a vector."""
        return int(self._vocab.vectors_length)

    @property
    def shared(self) -> tuple[int, int]:
        """How many words have a vector, and how many vectors there are."""
        return int(self._vocab.vectors.n_keys), len(self._vocab.vectors.data)

    def __contains__(self, word: object) -> bool:
        return bool(word) and bool(self._vocab.has_vector(word))

    def __getitem__(self, word: str) -> NDArray[np.float32]:
        """The vector of a word that has one, ``(size,)``."""
        vector: NDArray[np.float32] = np.asarray(self._vocab.get_vector(word), np.float32)
        return vector


@cache
def loaded(pipeline: str) -> Any:
    """The pipeline, which takes time and memory, once for this process, and nothing of it but its
    tokeniser and its vectors.

    Raises:
        InputError: spaCy or the pipeline is missing.
    """
    try:
        import spacy
    except ImportError:
        raise InputError(
            f"to cut a text by {pipeline} needs spaCy: pip install 'saiki[japanese]'; for other "
            "languages than Japanese plain words do without: --tokens plain --vectors scratch"
        ) from None
    if not spacy.util.is_package(pipeline):
        return _blank(spacy, pipeline)
    meta = spacy.info(pipeline)
    return spacy.load(pipeline, exclude=[*meta["pipeline"], *meta.get("disabled", [])])


def _blank(spacy: Any, language: str) -> Any:
    if language == GINZA:
        raise InputError("GiNZA is not installed: pip install 'saiki[japanese]'")
    try:
        return spacy.blank(language)
    except ImportError:  # there are no rules of this language, or they need another library
        raise InputError(
            f"there is no spaCy pipeline {shown(language)} here; give ginza, an installed package "
            "such as en_core_web_md, the code of a language that spaCy cuts by rules, such as en, "
            "or one of plain, words, characters and japanese"
        ) from None

"""What a word is made of, what words make, and vectors to begin with."""

from pathlib import Path

from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.models.word_vectors import WordVectors
from saiki.saving.pretrained import of_run
from saiki.text.vectors import Vectors, read


class SubWords(Knobs):
    """n-grams of characters that words share."""

    buckets: int = knob(
        0, "vectors that n-grams share; 0: without sub-words", minimum=0, maximum=10**8
    )
    min_n: int = knob(3, "characters of an n-gram at least", minimum=1, maximum=20)
    max_n: int = knob(6, "characters of an n-gram at most", minimum=1, maximum=20)

    def validate(self) -> None:
        if self.max_n < self.min_n:
            raise InputError(f"max_n must be at least min_n, {self.min_n}, got {self.max_n}")


class Phrases(Knobs):
    """Words that stand side by side more often than by chance, joined."""

    phrases: int = knob(
        0, "passes, each of which joins two words, as new_york; 0: none", minimum=0, maximum=10
    )
    phrase_threshold: float = knob(
        100.0, "score above which two words are joined", minimum=0.001, maximum=10**9
    )


def vectors_of(path: Path) -> Vectors:
    """Those of a file, or of a run of words in a folder.

    Raises:
        InputError: there are none.
    """
    if not path.is_dir():
        return read(path)
    model, about = of_run(path)
    if not isinstance(model, WordVectors):
        raise InputError(f"{path} is a run of {about['run'][0]}, not of words")
    return model.vectors

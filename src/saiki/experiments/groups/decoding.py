"""How texts are written by a trained model, by its knobs."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from saiki.decoding import METHODS, Search
from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.text import Text


class Decoding(Knobs):
    """From the probabilities of tokens to a text. What is asked of it may be changed when the model
    is used."""

    method: str = knob("beam", "of decoding in the end, and when used", choices=METHODS)
    beam: int = knob(5, "hypotheses kept", minimum=1, maximum=1000)
    n_best: int = knob(1, "answers to each text", minimum=1, maximum=1000)
    temperature: float = knob(1.0, "of sampling; below 1: rather what is probable", minimum=0.001)
    top_k: int = knob(0, "tokens sampled from; 0: all", minimum=0)
    top_p: float = knob(1.0, "probability of the tokens sampled from", minimum=0.001, maximum=1)
    length_penalty: float = knob(1.0, "α of Wu et al. (2016); higher: longer", minimum=0)
    coverage_penalty: float = knob(0.0, "β of Wu et al. (2016); higher: all is read", minimum=0)
    copy_unknown: bool = knob(False, "whether unknown words are copied from the source")
    begin_with: str = knob("", "how each answer begins")
    must_hold: str = knob("", "phrases that each answer holds, with | between")

    def validate(self) -> None:
        self.build(0)  # settings of it that do not fit each other are refused
        if self.phrases and not METHODS[self.method].takes_forced:
            able = ", ".join(name for name, each in METHODS.items() if each.takes_forced)
            raise InputError(f"must_hold needs the method {able}, got {self.method}")

    @property
    def phrases(self) -> list[str]:
        """Those that each answer must hold."""
        return [phrase.strip() for phrase in self.must_hold.split("|") if phrase.strip()]

    def build(self, seed: int) -> Search:
        """The search; ``seed`` is that of sampling."""
        of_search = {field.name: getattr(self, field.name) for field in fields(Search)[:-1]}
        return Search(**of_search, seed=seed)

    def refuse_copies(self, reason: str) -> None:
        """Raise :class:`InputError` where words are to be copied or covered, for this reason."""
        if self.copy_unknown or self.coverage_penalty:
            raise InputError(f"{reason}; leave out copy_unknown and coverage_penalty")

    def check_phrases(self, text: Text) -> None:
        """Raise :class:`InputError` where the beginning or a phrase cannot be written."""
        for phrase in (self.begin_with, *self.phrases):
            text.phrase(phrase)

    def constraints(self, texts: Sequence[str]) -> dict[str, Any]:
        """What each translation has to hold, as a translator is told."""
        phrases = self.phrases
        return {
            "copy_unknown": self.copy_unknown,
            "prefixes": [self.begin_with] * len(texts) if self.begin_with else None,
            "forced": [phrases] * len(texts) if phrases else None,
        }

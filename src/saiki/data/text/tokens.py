"""How texts become tokens, by its knobs."""

from collections.abc import Sequence

from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.text import SPECIAL, Text
from saiki.text.tokenisers import PlainWords

BYTE_PAIRS = 8000


class Tokens(Knobs):
    """What is known of a language once its texts have been read."""

    vocabulary: int = knob(
        0, "tokens of a language at most; 0: no bound, but 8,000 byte pairs", minimum=0
    )
    minimum: int = knob(2, "times that a word occurs if it is to be known", minimum=1)
    longest: int = knob(60, "tokens of a sentence that is learned from", minimum=1)

    def build(self, tokens: str, texts: Sequence[str]) -> Text:
        """What ``texts`` teach of a language that is cut in the way of that name."""
        if tokens == "plain":
            words = PlainWords()
            known = words.vocabulary(texts, self.vocabulary, self.minimum)
            if len(known) == len(SPECIAL) and any(text.strip() for text in texts):
                raise InputError(
                    f"there is no vocabulary to learn: no word occurs {self.minimum} times"
                )
            return Text(words, known)
        size = self.vocabulary or (BYTE_PAIRS if tokens == "bpe" else 0)
        return Text.learn(tokens, texts, size, self.minimum)

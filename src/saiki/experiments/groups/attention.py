"""Attention by its knobs."""

from typing import Any

from saiki.knobs import Knobs, knob
from saiki.models.seq2seq import BASELINES
from saiki.nn.attention.attention import Attention
from saiki.nn.attention.choice import CHOICES
from saiki.nn.attention.scores import SCORES
from saiki.nn.attention.windows import WINDOWS


class Attending(Knobs):
    """How a decoder looks back at what was read."""

    attention: str = knob(
        "dot", "score of the attention; none: no attention", choices=("none", *SCORES)
    )
    choice: str = knob(
        "soft",
        "of what is read: the mean of all positions, or one: by REINFORCE, straight-through Gumbel "
        "or the exact sum over all",
        choices=CHOICES,
    )
    baseline: str = knob("moving", "of the rewards of REINFORCE", choices=BASELINES)
    entropy: float = knob(0.01, "weight of the entropy of drawn positions", minimum=0)
    heads: int = knob(1, "attentions side by side", minimum=1)
    window: str = knob("global", "positions that attention sees", choices=WINDOWS)
    reach: int = knob(5, "of a local window, to either side", minimum=1)
    coverage: bool = knob(False, "whether attention knows what has been read before")

    @property
    def needs_longest(self) -> bool:
        """Whether it is made for sources of some length at most."""
        return self.attention == "location"

    def build(self, query_size: int, memory_size: int, longest: int | None) -> Attention | None:
        """The attention of queries to a memory of these sizes; None for none.

        Args:
            longest: positions of a memory at most, if it :attr:`needs_longest`.
        """
        if self.attention == "none":
            return None
        named: dict[str, Any] = {"score": self.attention, "choice": self.choice}
        named |= {"window": self.window, "reach": self.reach, "coverage": self.coverage}
        return Attention(query_size, memory_size, heads=self.heads, longest=longest, **named)

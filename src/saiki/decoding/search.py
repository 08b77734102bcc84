"""What every way to decode shares: the settings and the hypotheses."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from saiki.decoding.state import Phrase, State
from saiki.decoding.task import Task
from saiki.errors import InputError


class Grown(NamedTuple):
    """Hypotheses with one token more, ``(rows, hypotheses)`` each."""

    total: Tensor
    """Log-probabilities in float64; −∞ is no hypothesis."""
    tokens: Tensor
    parents: Tensor
    """From which hypothesis of the row each goes on, counted from 0."""
    progress: State
    """What else is noted of each; see :class:`saiki.decoding.constraints.Progress`."""


class Chosen(NamedTuple):
    """What becomes of the hypotheses of each row."""

    ends: Tensor
    """Log-probabilities with the end, −∞ where it is not taken, ``(rows, hypotheses)``."""
    whole: Tensor
    """Which may stand without the end, at the limit, ``(rows, hypotheses)``."""
    grown: Grown
    """Those that live on."""


class Method(ABC):
    """A way to decode, by the name that it is defined with: how the hypotheses of each row go on.

    >>> class Last(Method, name="last"):  # whose tokens are the largest of those allowed
    ...     def __call__(self, total, progress, log_probs, rows, step): ...
    >>> Search("last").method
    'last'
    >>> del METHODS["last"]

    Args:
        task: the rows that there are.
        search: the settings.
        forced: phrases that each row must hold; all are empty where the method does not take them.
    """

    name: ClassVar[str]
    draws: ClassVar[bool] = False
    """Whether the hypotheses of a row, ``n_best`` of them, are drawn independently of each other;
    each is a row of its own then, with one hypothesis."""
    takes_forced: ClassVar[bool] = False
    """Whether it sees to it that forced words occur."""
    start: State = None
    """What is noted of the hypotheses, one of each row, before the first step."""

    def __init_subclass__(cls, name: str = "") -> None:
        if name:
            cls.name = name
            METHODS[name] = cls

    def __init__(self, task: Task, search: "Search", forced: Sequence[Sequence[Phrase]]) -> None:
        self.search = search

    @classmethod
    def obstacle(cls, search: "Search") -> str:
        """Why these settings do not fit the method; empty if they do."""
        return ""

    @abstractmethod
    def __call__(
        self, total: Tensor, progress: State, log_probs: Tensor, rows: Tensor, step: int, /
    ) -> Chosen:
        """One step of a search.

        Takes the log-probabilities of the hypotheses, ``(rows, hypotheses)``, what is noted of
        them, the log-probabilities of their next token, ``(rows, hypotheses, vocabulary)``, which
        it may change, the number of each row and how many tokens it has.
        """


METHODS: dict[str, type[Method]] = {}
"""Every method by its name."""


@dataclass(frozen=True)
class Search:
    """How sequences are found.

    Args:
        method: ``"greedy"`` takes the most probable token each time, ``"sample"`` draws it,
            ``"beam"`` follows the most probable hypotheses side by side.
        beam: how many hypotheses beam search follows.
        temperature: of sampling; log-probabilities are divided by it before the next two.
        top_k: draw among the k most probable tokens only; 0 is all (Fan, Lewis & Dauphin 2018).
        top_p: draw among the fewest tokens, most probable first, that have together at least this
            probability (Holtzman et al. 2020, §3.1).
        length_penalty: α of Wu et al. 2016, §7; 0 is none. See :mod:`saiki.decoding.ranking`.
        coverage_penalty: β of the same section; 0 is none.
        n_best: how many hypotheses of each row are wanted; so many independent draws of sampling.
        seed: of sampling.

    Raises:
        InputError: a value is not allowed, or two do not fit each other.
    """

    method: str = "beam"
    beam: int = 5
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    length_penalty: float = 0.0
    coverage_penalty: float = 0.0
    n_best: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        for name, least in (("beam", 1), ("n_best", 1), ("top_k", 0), ("seed", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise InputError(
                    f"{name} must be a whole number of at least {least}, got {value!r}"
                )
        if not 0 < self.temperature < math.inf:
            raise InputError(
                f"temperature must be more than 0 and finite, got {self.temperature}; "
                'for the most probable token each time, use method="greedy"'
            )
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p must be more than 0 and at most 1, got {self.top_p}")
        for name in ("length_penalty", "coverage_penalty"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be at least 0 and finite, got {getattr(self, name)}")
        if obstacle := METHODS[self.method].obstacle(self):
            raise InputError(obstacle)


@dataclass(frozen=True)
class Hypothesis:
    """A sequence that was found.

    Args:
        tokens: without begin and end.
        log_probability: the sum over its tokens, and the end where it is finished, by the model as
            it is: without temperature, and without sharing out what is not allowed.
        score: by which hypotheses are ranked; see :mod:`saiki.decoding.ranking`.
        finished: false where it was cut at the limit.
        weights: what each token, and the end where it is finished, attended to,
            ``(len(tokens) + finished, source)``.
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float
    finished: bool
    weights: Tensor | None

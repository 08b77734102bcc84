"""A model as decoding sees it: one step, and the state that goes from one step to the next."""

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from saiki.errors import InputError

State = Any
"""Nested tuples (named ones too) of tensors whose first dimension is the rows; None is allowed."""
Phrase = Sequence[int]


class Advance(Protocol):
    """One step of a token model.

    Takes the last token of each hypothesis, ``(hypotheses,)`` in int64, their state, and the
    memory of their rows, which no step changes; every row has equally many hypotheses, side by
    side. Returns the logarithms of the probabilities of the next token, ``(hypotheses,
    vocabulary)``, what it attended to, ``(hypotheses, source)``, or None, and the new state.
    """

    def __call__(
        self, tokens: Tensor, state: State, memory: State, /
    ) -> tuple[Tensor, Tensor | None, State]: ...


def select(state: State, rows: Tensor) -> State:
    """The state of these rows only, in this order; a row may occur several times or never.

    Raises:
        InputError: the state holds something that is neither a tensor nor a tuple nor None.
    """
    match state:
        case None:
            return None
        case Tensor():
            return state.index_select(0, rows)
        case tuple():
            parts = (select(part, rows) for part in state)
            return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    raise InputError(
        f"a state is made of tensors, tuples and None, got {type(state).__name__}; put what does "
        "not follow the rows into the function that advances"
    )

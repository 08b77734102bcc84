"""What there is to decode, checked, and what may come next."""

from collections.abc import Sequence

import torch
from torch import Tensor

from saiki.decoding.state import Advance, State, select
from saiki.errors import InputError

ROUNDING = 0.01
"""By how much the logarithm of a probability may be above 0."""


class Task:
    """The rows of one call of :func:`saiki.decoding.decode.decode`, with its arguments.

    Args:
        copies: how often each row is decoded; copies of a row are rows side by side.

    Raises:
        InputError: they do not fit each other, or what a row is to begin with is not possible.
    """

    def __init__(
        self,
        advance: Advance,
        state: State,
        memory: State,
        limits: Sequence[int],
        *,
        begin: int,
        end: int,
        banned: Sequence[int] = (),
        prefixes: Sequence[Sequence[int]] | None = None,
        keys: Sequence[int] | None = None,
        source_lengths: Tensor | None = None,
        copies: int = 1,
    ) -> None:
        self.advance = advance
        self.begin = begin
        self.end = end
        self.copies = copies
        self.named_tokens = [end, *banned]
        self.keys = range(len(limits)) if keys is None else keys
        prefixes = [()] * len(limits) if prefixes is None else prefixes
        for name, values in (("keys", self.keys), ("prefixes", prefixes)):
            check_count(name, values, limits)
        self._check_prefixes(limits, prefixes)

        self.device = _device((state, memory))
        self.longest = max(limits, default=0)
        self.banned = torch.tensor(banned, dtype=torch.int64, device=self.device)
        rows = torch.arange(len(limits), device=self.device).repeat_interleave(copies)
        self.rows = len(rows)
        self.state, self.memory, self.source_lengths, self.limits, self.prefixes = select(
            (
                state,
                memory,
                None if source_lengths is None else source_lengths.to(self.device),
                torch.tensor(limits, dtype=torch.int64, device=self.device),
                _table(prefixes).to(self.device),
            ),
            rows,
        )

    def _check_prefixes(self, limits: Sequence[int], prefixes: Sequence[Sequence[int]]) -> None:
        for row, (limit, prefix) in enumerate(zip(limits, prefixes, strict=True)):
            if limit < 1:
                raise InputError(f"a limit must be at least 1, got {limit} for row {row}")
            if len(prefix) > limit:
                raise InputError(
                    f"row {row} may have {limit} tokens, but its prefix has {len(prefix)}; "
                    "raise the limit"
                )
            if self.end in prefix:
                raise InputError(f"the prefix of row {row} has the end in it, token {self.end}")
            self.named_tokens.extend(prefix)

    def allowed(self, log_probs: Tensor, rows: Tensor, step: int) -> Tensor:
        """A copy of the log-probabilities of the token after ``step`` tokens, ``(hypotheses,
        vocabulary)``, −∞ where a token is banned or is not that of the prefix.

        Args:
            rows: which row each hypothesis is of.

        Raises:
            InputError: they are no log-probabilities, or have no place for a token that was given.
        """
        if step == 0:
            self._check_tokens(log_probs.shape[1])
        wrong = ~(log_probs.amax(1) <= ROUNDING)  # NaN is not
        if wrong.any():
            at = int(wrong.nonzero()[0])
            raise InputError(
                f"the model must give logarithms of probabilities, got {float(log_probs[at].max())}"
                f" for {self.name(rows[at])} after {step} tokens; its weights or its input may "
                "hold NaN"
            )
        allowed = log_probs.index_fill(1, self.banned, -torch.inf)
        if step < self.prefixes.shape[1]:
            wanted = self.prefixes[rows, step]
            inside = (wanted >= 0).nonzero().squeeze(1)
            wanted = wanted[inside]
            allowed[inside] = -torch.inf
            allowed[inside, wanted] = log_probs[inside, wanted]
        return allowed

    def _check_tokens(self, vocabulary: int) -> None:
        for token in self.named_tokens:
            if not 0 <= token < vocabulary:
                raise InputError(
                    f"the model has tokens from 0 to {vocabulary - 1}, got token {token}"
                )

    def name(self, row: Tensor | int) -> str:
        """What messages call a row."""
        return f"row {int(row) // self.copies}"

    def dead_end(self, row: Tensor, step: int) -> InputError:
        """The error where a row has no hypothesis."""
        return InputError(
            f"nothing can be found for {self.name(row)}: after {step} tokens all that may follow "
            "is banned, ruled out by its prefix or forced words, or of probability 0"
        )


def check_count(name: str, values: Sequence[object], limits: Sequence[int]) -> None:
    """That there is one of ``values`` for each row."""
    if len(values) != len(limits):
        raise InputError(
            f"{name} must be one for each of the {len(limits)} rows, got {len(values)}"
        )


def _table(prefixes: Sequence[Sequence[int]]) -> Tensor:
    """``(rows, longest prefix)``, −1 after the end of each."""
    longest = max(map(len, prefixes), default=0)
    padded = [[*prefix, *[-1] * (longest - len(prefix))] for prefix in prefixes]
    return torch.tensor(padded, dtype=torch.int64).view(len(prefixes), longest)


def _device(state: State) -> torch.device:
    """Where the first tensor of the state is."""
    parts = [state]
    while parts:
        match parts.pop():
            case Tensor() as tensor:
                return tensor.device
            case tuple() as inner:
                parts.extend(inner)
    return torch.device("cpu")

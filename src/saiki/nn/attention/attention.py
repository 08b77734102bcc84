"""Attention of a decoder to a memory, soft or hard behind one interface."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from saiki.errors import InputError
from saiki.layers.run import exporter
from saiki.nn.attention import scores, windows
from saiki.nn.attention.choice import CHOICES, Name, check_mask, choose, mean_of_real
from saiki.nn.precision import at_least_float32
from saiki.saving.pretrained import DescribedModule


class Memory(NamedTuple):
    """What is attended to, prepared once for each source.

    Attributes:
        keys: ``(batch, source, key_size)``, what the score sees of each position.
        values: ``(batch, source, memory_size)``, what is read of each position.
        mask: ``(batch, source)``, True where a position is real.
    """

    keys: Tensor
    values: Tensor
    mask: Tensor


class Attended(NamedTuple):
    """What queries find. For queries without ``time``, nothing here has it.

    Attributes:
        context: ``(batch, time, memory_size)``, what was read.
        weights: ``(batch, time, source)``, what it was read with, the mean over heads. They sum to
            1, and are 0 outside the window and on padding; one-hot for a hard choice of one head.
        probabilities: ``(batch, time, source)``, the distribution before choosing, the mean over
            heads.
        log_choice: ``(batch, time)``, the log-probability of the chosen position, of all those
            together that the heads chose; None but for "reinforce".
        entropy: ``(batch, time)``, that of the distribution, the sum over heads; None for "soft".
    """

    context: Tensor
    weights: Tensor
    probabilities: Tensor
    log_choice: Tensor | None
    entropy: Tensor | None

    @property
    def log_probabilities(self) -> Tensor:
        """Logarithms of ``probabilities``; −∞ where they are 0 or smaller than the smallest normal
        number of their type, through whose logarithm a gradient might overflow."""
        p = self.probabilities
        none = p < torch.finfo(p.dtype).tiny
        return p.masked_fill(none, 1.0).log().masked_fill(none, -torch.inf)


class Attention(DescribedModule, name="attention.v1"):
    """A query q finds in a memory what fits it.

    p = softmaxₛ(score(q, mₛ)) over the real positions s in a window. What is read is Σₛ pₛ vₛ, or,
    with a hard choice, the value of a position drawn from p.

    With one head, vₛ = mₛ. With several, each has its own p, and reads its share of the features of
    v = V m; side by side, they are projected once more (Vaswani et al. 2017, §3.2.2).

    >>> attention = Attention(query_size=5, memory_size=4, score="general")
    >>> memory = attention.prepare(torch.randn(2, 7, 4))
    >>> attended = attention(torch.randn(2, 5), memory)
    >>> attended.context.shape, attended.weights.shape
    (torch.Size([2, 4]), torch.Size([2, 7]))

    Args:
        query_size: features of a query, such as the state of a decoder.
        memory_size: features of a position, such as an output of an encoder.
        score: ``"additive"``, ``"dot"``, ``"scaled_dot"``, ``"general"`` or ``"location"``; see
            :mod:`saiki.nn.attention.scores`.
        choice: ``"soft"``, ``"reinforce"``, ``"gumbel"`` or ``"marginal"``; see
            :mod:`saiki.nn.attention.choice`.
        heads: how many attend side by side.
        window: ``"global"``, ``"local-m"`` or ``"local-p"``; see :mod:`saiki.nn.attention.windows`.
        reach: positions on either side that a local window holds.
        coverage: scores also see how much was read of a position before.
        hidden_size: features that "additive", and with several heads "dot" and "scaled_dot",
            project queries and memory to; as many as a query has if None.
        temperature: of "gumbel".
        longest: positions that "location" has weights for, which needs it.

    Raises:
        InputError: an argument is not among those allowed, or they do not fit each other.
    """

    def __init__(
        self,
        query_size: int,
        memory_size: int,
        score: scores.Name = "dot",
        choice: Name = "soft",
        heads: int = 1,
        window: windows.Name = "global",
        reach: int = 5,
        coverage: bool = False,
        hidden_size: int | None = None,
        temperature: float = 1.0,
        longest: int | None = None,
    ) -> None:
        super().__init__()
        sizes = {"query_size": query_size, "memory_size": memory_size, "heads": heads,
                 "reach": reach, "hidden_size": hidden_size, "longest": longest}  # fmt: skip
        for name, size in sizes.items():
            if size is not None and size < 1:
                raise InputError(f"{name} must be at least 1, got {size}")
        if choice not in CHOICES:
            raise InputError(f"choice must be one of {', '.join(CHOICES)}, got {choice!r}")
        if choice == "marginal" and heads > 1:
            raise InputError(
                f"the choice 'marginal' goes through the positions of one head, got heads={heads}; "
                "take heads=1, or another choice"
            )
        if not temperature > 0:
            raise InputError(f"temperature must be above 0, got {temperature}")
        if memory_size % heads:
            raise InputError(
                f"the {memory_size} features of the memory cannot be shared among {heads} heads"
            )
        self.query_size = query_size
        self.memory_size = memory_size
        self.choice = choice
        self.heads = heads
        self.coverage = coverage
        self.temperature = temperature
        self.score = scores.make(
            score, query_size, memory_size, heads, coverage, hidden_size, longest
        )
        self.window = windows.make(window, query_size, reach)
        self.value: nn.Module = nn.Identity()
        self.output: nn.Module = nn.Identity()
        if heads > 1:
            self.value = nn.Linear(memory_size, memory_size, bias=False)
            self.output = nn.Linear(memory_size, memory_size, bias=False)

    def equations(self) -> str:
        """What is read of a memory m for a query h."""
        within = self.window.equation()
        read = {
            "soft": "c = Σₛ pₛ mₛ",
            "reinforce": "c = mᵢ, i drawn from p; ∇ by REINFORCE",
            "gumbel": "c = mᵢ, i drawn from p; ∇ through softmax(ln p + g)",
            "marginal": "p(y) = Σₛ pₛ p(y | c = mₛ)",
        }[self.choice]
        p = f"p = softmaxₛ({self.score.equation()}){within}"
        return f"{p}\n{read}" + (f", in {self.heads} heads side by side" * (self.heads > 1))

    def prepare(self, memory: Tensor, mask: Tensor | None = None) -> Memory:
        """Project the memory, once for all queries.

        Args:
            memory: ``(batch, source, memory_size)``.
            mask: ``(batch, source)``, True where a position is real; all are if None. What the
                others hold is never read.

        Raises:
            InputError: a shape does not fit, or a row has no real position.
        """
        if memory.ndim != 3 or memory.shape[-1] != self.memory_size or 0 in memory.shape:
            raise InputError(
                f"the memory must be (batch, source, {self.memory_size}) and not empty, got "
                f"{tuple(memory.shape)}"
            )
        if mask is None:
            mask = torch.ones(memory.shape[:2], dtype=torch.bool, device=memory.device)
        else:
            check_mask(mask, memory.shape[:2])
            _check_rows(mask)
            memory = memory.masked_fill(~mask[..., None], 0.0)
        return Memory(self.score.keys(memory), self.value(memory), mask)

    def forward(
        self,
        query: Tensor,
        memory: Memory,
        position: Tensor | int | None = None,
        covered: Tensor | None = None,
        best: bool = False,
    ) -> Attended:
        """What the queries find: one for each row, or several, each as if it were alone.

        Args:
            query: ``(batch, query_size)`` or ``(batch, time, query_size)``.
            memory: from :meth:`prepare`.
            position: the step of the query, or of the first of several that follow each other; or
                a step for each query, ``(batch,)`` or ``(batch, time)``. If None, several queries
                start at step 0, and one has no step, which "local-m" refuses.
            covered: with coverage, the sum of the weights of all earlier steps, ``(batch, source)``
                or ``(batch, time, source)``; zeros at the first.
            best: choose the most probable position, as in evaluation mode, and do not sample.

        Raises:
            InputError: a shape does not fit, or ``position`` or ``covered`` is missing.
        """
        is_single = query.ndim == 2
        self._check(query, memory, covered)
        steps = _steps(query, position)
        if is_single:
            query = query[:, None]
            covered = None if covered is None else covered[:, None]
        e = at_least_float32(self.score(query, memory.keys, covered))
        log_p = (e + self.window(query, memory.mask, steps)[:, None]).log_softmax(-1)
        chosen = choose(log_p, self.choice, self.temperature, sample=self.training and not best)
        values = scores.split(memory.values, self.heads)
        context = chosen.weights.to(values.dtype) @ values
        attended = Attended(
            self.output(context.transpose(1, 2).flatten(2)),
            chosen.weights.mean(1),
            chosen.probabilities.mean(1),
            None if chosen.log_choice is None else chosen.log_choice.sum(1),
            None if chosen.entropy is None else chosen.entropy.sum(1),
        )
        if not is_single:
            return attended
        return Attended._make(part if part is None else part.squeeze(1) for part in attended)

    def _check(self, query: Tensor, memory: Memory, covered: Tensor | None) -> None:
        batch, source = memory.mask.shape
        size = self.query_size
        if query.ndim not in (2, 3) or query.shape[0] != batch or query.shape[-1] != size:
            raise InputError(
                f"the query must be ({batch}, {size}) or ({batch}, time, {size}), got "
                f"{tuple(query.shape)}"
            )
        if self.coverage != (covered is not None):
            raise InputError(
                "with coverage, and only then, covered must be given at each step, zeros at the "
                f"first; got coverage={self.coverage} and "
                f"{'no covered' if covered is None else 'covered'}"
            )
        wanted = (*query.shape[:-1], source)
        if covered is not None and covered.shape != wanted:
            raise InputError(f"covered must be {wanted}, got {tuple(covered.shape)}")


def _check_rows(mask: Tensor) -> None:
    if torch.compiler.is_compiling() or exporter() is not None:
        return  # there are no numbers to look at
    empty = ~mask.any(-1)
    if empty.any():
        raise InputError(
            f"rows {empty.nonzero().flatten().tolist()} of the mask have no real position, so "
            "there is nothing to attend to; leave such rows out"
        )


def _steps(query: Tensor, position: Tensor | int | None) -> Tensor | None:
    """The step of each query, ``(batch or 1, time)``; None if it has none."""
    is_single = query.ndim == 2
    if position is None and is_single:
        return None
    steps = torch.as_tensor(0 if position is None else position, device=query.device)
    if steps.ndim == 0:
        return steps + torch.arange(1 if is_single else query.shape[1], device=query.device)[None]
    if steps.shape != query.shape[:-1]:
        raise InputError(
            f"position must be a number or of shape {tuple(query.shape[:-1])}, got "
            f"{tuple(steps.shape)}"
        )
    return steps[:, None] if is_single else steps


def coverage_loss(weights: Tensor, mask: Tensor | None = None) -> Tensor:
    """Σₛ min(aₛᵗ, cₛᵗ), the mean over steps t (See, Liu & Manning 2017, §2.3, eq. 12).

    c, the sum of the weights a of all earlier steps, makes it large where steps read again what was
    read before.

    Args:
        weights: a, ``(batch, time, source)``.
        mask: ``(batch, time)``, True where a step of the target is real; all are if None.
    """
    covered = weights.cumsum(1) - weights
    return mean_of_real(torch.minimum(weights, covered).sum(-1), mask)

"""Sequences from a model that tells what token comes next: greedy, sampled, by beam search."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from saiki.decoding.ranking import Scoring
from saiki.decoding.search import METHODS, Hypothesis, Method, Search
from saiki.decoding.state import Advance, Phrase, State, select
from saiki.decoding.task import Task, check_count
from saiki.decoding.trellis import Ends, Trellis
from saiki.errors import InputError

__all__ = ["Advance", "Ensemble", "Hypothesis", "Search", "State", "decode"]


@torch.no_grad()
def decode(
    advance: Advance,
    state: State,
    memory: State,
    limits: Sequence[int],
    search: Search,
    *,
    begin: int,
    end: int,
    banned: Sequence[int] = (),
    prefixes: Sequence[Sequence[int]] | None = None,
    forced: Sequence[Sequence[Phrase]] | None = None,
    keys: Sequence[int] | None = None,
    source_lengths: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """Decode all rows together; each gets the sequences that it would get alone.

    Sampling draws a token from the probabilities that the state gives, and feeds it back, until
    the end is drawn::

        >>> def advance(tokens, state, memory):  # 0 is the end; 1, 2 and 3 are equally probable
        ...     p = torch.tensor([0.1, 0.3, 0.3, 0.3]).expand(len(tokens), 4)
        ...     return p.log(), None, state
        >>> draws = Search("sample", n_best=3)
        >>> found = decode(advance, torch.zeros(2, 1), None, [8, 8], draws, begin=0, end=0)
        >>> [len(hypotheses) for hypotheses in found]
        [3, 3]

    Args:
        advance: one step of the model; see :class:`saiki.decoding.state.Advance`.
        state: before the first step, one for each row.
        memory: of each row, which no step changes.
        limits: tokens that each row has at most, the end not counted.
        begin: the token before the first.
        end: the token after the last.
        banned: tokens that never occur.
        prefixes: the first tokens of each row.
        forced: sequences of tokens that must occur in each row; of beam search only.
        keys: a number for each row, from which its random numbers come together with the seed; the
            number of the row if None.
        source_lengths: positions of each source, ``(rows,)``, over which the penalty for coverage
            sums; it is needed for that alone.

    Returns:
        For each row at most ``search.n_best`` hypotheses: the finished ones, best first, then
        those that were cut at the limit.

    Raises:
        InputError: arguments do not fit each other, no token may come next, or the model's output
            is not numbers.
    """
    forced = [()] * len(limits) if forced is None else forced
    check_count("forced", forced, limits)
    method = METHODS[search.method]
    if any(forced) and not method.takes_forced:
        able = ", ".join(name for name, each in METHODS.items() if each.takes_forced)
        raise InputError(f"forced words need the method {able}, got {search.method}")
    task = Task(
        advance,
        state,
        memory,
        limits,
        begin=begin,
        end=end,
        banned=banned,
        prefixes=prefixes,
        keys=keys,
        source_lengths=source_lengths,
        copies=search.n_best if method.draws else 1,
    )
    if not limits:
        return []
    return _follow(task, search, method(task, search, forced))


def _follow(task: Task, search: Search, choose: Method) -> list[list[Hypothesis]]:
    """Follow hypotheses, one of each row at first, until no row can find better ones.

    log P only falls and lp only grows on the way to the limit, and cp is at most 0; so no
    continuation of a hypothesis can score more than log P / lp(limit + 1).
    """
    rows = torch.arange(task.rows, device=task.device)
    parents, state, memory = rows, task.state, task.memory
    tokens = torch.full_like(rows, task.begin)
    total = torch.zeros(task.rows, 1, dtype=torch.float64, device=task.device)
    scoring, trellis = Scoring(search, task.source_lengths), Trellis()
    finished = Ends.none(task.rows, search.n_best // task.copies, task.device)
    cover, progress = None, choose.start
    for step in range(task.longest + 1):
        log_probs, weights, state = task.advance(tokens, state, memory)
        trellis.add(parents, tokens, weights)
        before = None if cover is None else cover[parents]
        cover = scoring.cover(before, weights)
        log_probs = task.allowed(log_probs, rows.repeat_interleave(total.shape[1]), step)
        ends, whole, grown = choose(total, progress, log_probs.view(*total.shape, -1), rows, step)

        limits = task.limits[rows]
        last = limits == step
        ended = ends > -torch.inf
        stands = ended | (last[:, None] & whole & (total > -torch.inf))
        slots = torch.arange(total.numel(), device=task.device).view_as(total)
        (some,) = stands.any(1).nonzero(as_tuple=True)
        if len(some):
            score = scoring.score(ends, step + 1, cover)
            score = score.where(ended, scoring.score(total, step, before))
            score = score.masked_fill(~stands, -torch.inf)
            those = Ends(
                score, ends.where(ended, total), torch.full_like(slots, step), slots, ended
            )
            finished.offer(rows[some], select(those, some))

        best = grown.total.amax(1)
        over = last | (best == -torch.inf)
        worst = finished.score[rows]
        stuck = over & (worst[:, 0] == -torch.inf)
        if stuck.any():
            raise task.dead_end(rows[stuck][0], step)
        over |= worst[:, -1] >= best / scoring.length(limits.double() + 1)
        (going,) = (~over).nonzero(as_tuple=True)
        if len(going) == 0:
            break
        lived = select(grown, going)
        parents = slots[going].gather(1, lived.parents).flatten()
        state = select(state, parents)
        if len(going) < len(rows):
            rows, memory = rows[going], select(memory, going)
        total, tokens, progress = lived.total, lived.tokens.flatten(), lived.progress
    return _hypotheses(trellis, finished.map(lambda field: field.view(-1, search.n_best)))


def _hypotheses(trellis: Trellis, ends: Ends) -> list[list[Hypothesis]]:
    """Those of each row, ``(rows, n_best)``, the best first."""
    ends = ends.best(ends.score.shape[1])
    hypotheses: list[list[Hypothesis]] = [[] for _ in ends.score]
    row, place = (ends.score > -torch.inf).nonzero(as_tuple=True)
    ends_found = ends.map(lambda field: field[row, place])
    tokens, weights = trellis.trace(ends_found.step, ends_found.slot)
    numbers = (values.tolist() for values in (row, tokens, *ends_found[:3], ends_found.finished))
    for i, (of, ids, score, log_probability, length, finished) in enumerate(
        zip(*numbers, strict=True)
    ):
        read = None if weights is None else weights[i, : length + finished]
        hypotheses[of].append(
            Hypothesis(tuple(ids[:length]), log_probability, score, finished, read)
        )
    return hypotheses


class Ensemble:
    """Several models that decode together: p = 1/M Σₘ pₘ, and the mean of what they attend to.

    State and memory are those of all models, one after the other. There are no weights where a
    model has none.

    Raises:
        InputError: there is no model.
    """

    def __init__(self, models: Sequence[Advance]) -> None:
        if not models:
            raise InputError("an ensemble needs at least one model")
        self.models = models

    def __call__(
        self, tokens: Tensor, state: State, memory: State, /
    ) -> tuple[Tensor, Tensor | None, State]:
        parts = zip(self.models, state, memory, strict=True)
        log_probs, weights, states = zip(
            *(m(tokens, s, memory_of_model) for m, s, memory_of_model in parts), strict=True
        )
        if len({p.shape for p in log_probs}) > 1:
            sizes = ", ".join(str(p.shape[1]) for p in log_probs)
            raise InputError(f"the models of an ensemble need the same tokens, got {sizes} of them")
        p = torch.stack(log_probs).logsumexp(0) - math.log(len(self.models))
        read = None if any(w is None for w in weights) else torch.stack(weights).mean(0)
        return p, read, states

"""Models that are tables, and decoding of them one hypothesis after another in plain Python."""

import functools
import itertools
import math

import torch

from saiki.decoding.decode import decode

BEGIN, END = 0, 1
STATES = 499


class Toy:
    """Hidden states, each with random log-probabilities and weights; so many that hardly two
    sequences pass the same ones, and no two are equally probable.

    Rows differ: each has a table of its own, which its memory names. The first ``sources[row]``
    positions have weight. ``impossible`` is the share of tokens of probability 0, the end never.
    """

    def __init__(self, seed, rows=1, vocabulary=4, sources=None, impossible=0.0):
        make = torch.Generator().manual_seed(seed)
        shape = (rows, STATES, vocabulary)
        logits = 2 * torch.randn(shape, generator=make, dtype=torch.float64)
        none = torch.rand(shape, generator=make) < impossible
        none[..., END] = False
        self.table = logits.masked_fill(none, -torch.inf).log_softmax(-1)
        self.then = torch.arange(1, STATES * vocabulary + 1).view(STATES, vocabulary) % STATES
        self.sources = sources
        self.attention = None
        if sources is not None:
            seen = torch.arange(max(sources)) < torch.tensor(sources)[:, None]
            scores = 2 * torch.randn(rows, STATES, max(sources), generator=make).double()
            self.attention = scores.masked_fill(~seen[:, None], -torch.inf).softmax(-1)
        self.vocabulary = vocabulary
        self.steps = 0

    def __call__(self, tokens, state, memory):
        self.steps += 1
        assert len(tokens) == len(state)
        row = memory.repeat_interleave(len(tokens) // len(memory))
        state = self.then[state, tokens]
        read = None if self.attention is None else self.attention[row, state]
        return self.table[row, state], read, state

    def decode(self, limits, search, rows=None, **arguments):
        rows = torch.arange(len(limits)) if rows is None else torch.tensor(rows)
        lengths = None if self.sources is None else torch.tensor(self.sources)[rows]
        start = torch.zeros(len(rows), dtype=torch.int64)
        return decode(
            self, start, rows, limits, search, begin=BEGIN, end=END, source_lengths=lengths,
            **arguments,
        )  # fmt: skip

    def after(self, row, tokens):
        """Log-probabilities of the next token, and the weights there."""
        then, table, attention = self.lists
        state = 0
        for token in (BEGIN, *tokens):
            state = then[state][token]
        return table[row][state], None if attention is None else attention[row][state]

    @functools.cached_property
    def lists(self):
        attention = None if self.attention is None else self.attention.tolist()
        return self.then.tolist(), self.table.tolist(), attention

    def log_probability(self, row, tokens, finished):
        whole = (*tokens, END) if finished else tokens
        return sum(self.after(row, whole[:i])[0][token] for i, token in enumerate(whole))

    def score(self, row, tokens, finished, search):
        """Wu et al. 2016, §7, eq. 14."""
        factors = len(tokens) + finished
        lp = (5 + factors) ** search.length_penalty / 6**search.length_penalty
        score = self.log_probability(row, tokens, finished) / lp
        if search.coverage_penalty:
            weights = [self.after(row, tokens[:i])[1] for i in range(factors)]
            for i in range(self.sources[row]):
                covered = min(sum(w[i] for w in weights), 1.0)
                score += search.coverage_penalty * math.log(max(covered, 2.0**-126))
        return score

    def ranked(self, row, finished, cut, search):
        """The finished, then the cut, each best first: tokens, finished, score."""
        candidates = [(tokens, True, self.score(row, tokens, True, search)) for tokens in finished]
        candidates += [(tokens, False, self.score(row, tokens, False, search)) for tokens in cut]
        candidates.sort(key=lambda one: (not one[1], -one[2]))
        return candidates[: search.n_best]

    def possible(self, row, tokens, finished=False):
        return self.log_probability(row, tokens, finished) > -math.inf

    def every(self, row, limit, search, allowed=lambda tokens: True):
        """The best of all sequences."""
        alphabet = [token for token in range(self.vocabulary) if token != END]
        finished, cut = [], []
        for size in range(limit + 1):
            for tokens in itertools.product(alphabet, repeat=size):
                if not allowed(tokens) or not self.possible(row, tokens):
                    continue
                if self.possible(row, tokens, True):
                    finished.append(tokens)
                elif size == limit:
                    cut.append(tokens)
        return self.ranked(row, finished, cut, search)

    def beam(self, row, limit, search):
        """Beam search that never stops early."""
        alive, finished, cut = [((), 0.0)], [], []
        for step in range(limit + 1):
            longer = [
                (total + log_p, tokens, token)
                for tokens, total in alive
                for token, log_p in enumerate(self.after(row, tokens)[0])
                if log_p > -math.inf
            ]
            longer.sort(reverse=True)
            ended = [tokens for _, tokens, token in longer[: search.beam] if token == END]
            finished += ended
            if step == limit:
                cut = [tokens for tokens, _ in alive if tokens not in ended]
            grown = [((*tokens, token), total) for total, tokens, token in longer if token != END]
            alive = grown[: search.beam]
        return self.ranked(row, finished, cut, search)

    def greedy(self, row, limit):
        tokens = ()
        while True:
            log_probs = self.after(row, tokens)[0]
            best = max(range(self.vocabulary), key=log_probs.__getitem__)
            if best == END or len(tokens) == limit:
                return tokens, best == END
            tokens = (*tokens, best)


def agree(toy, row, hypotheses, wanted, search):
    """That hypotheses are these, with these scores and the log-probabilities of the tables."""
    assert [(h.tokens, h.finished) for h in hypotheses] == [one[:2] for one in wanted]
    for h, (_, _, score) in zip(hypotheses, wanted, strict=True):
        check_hypothesis(toy, row, h, search)
        assert math.isclose(h.score, score, rel_tol=1e-12, abs_tol=1e-12)


def check_hypothesis(toy, row, h, search):
    """That what a hypothesis says of itself is so."""
    assert END not in h.tokens
    log_p = toy.log_probability(row, h.tokens, h.finished)
    assert math.isclose(h.log_probability, log_p, rel_tol=1e-12, abs_tol=1e-12)
    score = toy.score(row, h.tokens, h.finished, search)
    assert math.isclose(h.score, score, rel_tol=1e-12, abs_tol=1e-12)
    factors = len(h.tokens) + h.finished
    if toy.attention is None:
        assert h.weights is None
    else:
        wanted = [toy.after(row, h.tokens[:i])[1] for i in range(factors)]
        assert h.weights.shape == (factors, toy.attention.shape[2])
        assert h.weights.tolist() == wanted

"""Matrices of word2vec and the threads that change them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saiki.errors import InputError
from saiki.word2vec import LANES, LINE, OUTPUTS_AT_ONCE
from saiki.word2vec.kernel import train
from saiki.word2vec.sharing import Scratch
from saiki.word2vec.tables import DRAWN_POWER, chances
from saiki.word2vec.windows import Rule, Tables, thin

LARGEST_PART = 32
"""Windows of a part."""
TERMS = 60
"""That a block adds to the same row at most, on average."""
SMALLEST_PART = 4
"""Windows for which a part is worth it."""
WINDOWS_OF_ONE = 64
"""Windows of a block of one part, which needs no bound."""


def shape_of(
    rule: Rule, tables: Tables, survival: NDArray[np.uint64], parts: int
) -> tuple[int, int]:
    """Parts of a block, no more than ``parts``, and windows of each.

    What the parts make of a row is added up without a look at each other. So a block has so few
    windows that this is not too much for any row. An output takes a term of each input of the
    windows that tell it, an input one of each output of the windows that it is in. Words share the
    rows of n-grams, so that with sub-words it is a quarter of what it is without. Where words are
    so few, or one so frequent, that nothing is left, a block has one part."""
    draws = chances(tables.threshold, tables.alias)
    met = draws ** (1 / DRAWN_POWER) * survival
    most_met, around = float(met.max() / met.sum()), rule.window + 1
    targets = 1.0 if rule.by_tree else most_met + rule.negatives * float(draws.max())
    of_output = targets * (1 if rule.averages else around) * (1 if rule.from_around else around)
    of_input = most_met * around * (1 + rule.negatives)
    block = int(TERMS / max(of_output, of_input))
    block //= 4 if rule.averages and not rule.from_around else 1
    parts = min(parts, block // SMALLEST_PART)
    return (parts, min(block // parts, LARGEST_PART)) if parts > 1 else (1, WINDOWS_OF_ONE)


def widest(rule: Rule, tables: Tables) -> tuple[int, int]:
    """The most inputs and outputs that a window can have."""
    around, rows = 2 * rule.window, int(np.diff(tables.first).max(initial=1))
    targets = int(np.diff(tables.root).max(initial=0)) if rule.by_tree else 1
    inputs = around * rows if rule.from_around else rows
    outputs = (targets + rule.negatives) * (1 if rule.from_around else around)
    return inputs, -(-(outputs + OUTPUTS_AT_ONCE - 1) // LANES) * LANES


def power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def apart(parts: int, most: int, kind: Any) -> NDArray[Any]:
    """Room for numbers of each part, so far from those of others that threads do not wait for each
    other."""
    return np.zeros((parts, most + 4 * LINE), kind)


def run_threads(work: Callable[[int], None], threads: int) -> None:
    """Have threads do their work at the same time; each is given its number. They may wait for each
    other, so none begins before all are there.

    Raises:
        InputError: the machine starts no more threads.
    """
    all_there, is_off = Event(), Event()

    def wait(thread: int) -> None:
        all_there.wait()
        if not is_off.is_set():
            work(thread)

    with ThreadPoolExecutor(max(threads - 1, 1)) as pool:
        others = list[Future[None]]()
        try:
            others += [pool.submit(wait, thread) for thread in range(1, threads)]
        except RuntimeError:
            is_off.set()
            raise InputError(
                f"only {len(others) + 1} of {threads} threads can start here; take fewer"
            ) from None
        finally:
            all_there.set()
        work(0)
        for other in others:
            other.result()


class Trainer:
    """Learns from texts of numbers, piece by piece.

    Args:
        inputs: ``(rows, padded size)``, changed in place; so are ``outputs``.
        survival: see :func:`saiki.word2vec.tables.survival`.
        threads: that share the parts of a block. What comes out does not depend on their number.
        races: whether each thread has windows of its own instead, and changes rows that others
            read (Recht et al. 2011): faster, and another result each time.
        parts: of a block at most, and so threads that learn, unless they race.
        shape: of a block; :func:`shape_of` chooses it if None.

    Raises:
        InputError: the matrices are not of float32, which the kernel takes them for.
    """

    def __init__(
        self,
        inputs: NDArray[np.float32],
        outputs: NDArray[np.float32],
        rule: Rule,
        tables: Tables,
        survival: NDArray[np.uint64],
        threads: int = 1,
        races: bool = False,
        parts: int = 2,
        shape: tuple[int, int] | None = None,
    ) -> None:
        for matrix in (inputs, outputs):
            if matrix.dtype != np.float32:
                raise InputError(f"word vectors are learned in float32, got {matrix.dtype}")
        self.inputs, self.outputs = inputs.reshape(-1), outputs.reshape(-1)
        self.size = inputs.shape[1]
        self.rule, self.tables, self.survival = rule, tables, survival
        self.races = races
        self.parts, self.windows = (
            (1, WINDOWS_OF_ONE) if races else shape or shape_of(rule, tables, survival, parts)
        )
        self.threads = threads if races else min(threads, self.parts)
        self._scratch = [self._room() for _ in range(threads if races else 1)]
        self._text = np.empty(0, np.int32)

    def _room(self) -> Scratch:
        parts, windows, (most_in, most_out) = (
            self.parts,
            self.windows,
            widest(self.rule, self.tables),
        )
        rows = windows * (most_in + most_out)
        marks, held = power_of_two(max(rows // 4, LANES)), power_of_two(2 * rows)
        every = parts * windows
        scores = most_out * (1 if self.rule.averages else most_in)
        return Scratch(
            np.zeros((every, most_in), np.int64),
            np.zeros((every, most_out), np.int64),
            np.zeros((every, most_out), np.float32),
            np.zeros((every, most_out), np.float32),
            np.zeros((every, 2), np.int32),
            apart(parts, scores, np.float32),
            apart(parts, self.size, np.float32),
            apart(parts, 2, np.float64),
            np.zeros((parts, marks), np.uint64),
            np.zeros((parts, marks), np.uint64),
            np.zeros((parts, held), np.int64),
            np.zeros((parts, held), np.int32),
            apart(parts, 1, np.int32),
            apart(parts, rows, np.int32),
            apart(parts, rows, np.int64),
            apart(parts, rows * self.size, np.float32),
        )

    def learn(
        self, words: NDArray[np.int32], rates: tuple[float, float], seed: int
    ) -> tuple[float, float]:
        """Learn from the numbers of words, ``BREAK`` between lines.

        Args:
            rates: the learning rate at the first word and after the last.
            seed: of what stays, of the windows and of the words drawn.

        Returns:
            The sum of −ln σ over the scores that are counted, of one window in ``COUNTED``, and the
            number of these scores.
        """
        if len(self._text) < len(words):
            self._text = np.empty(len(words), np.int32)
        text = self._text
        end = thin(words, self.survival, np.uint64(2 * seed), text)
        rates = float(rates[0]), float(rates[1])
        counter = np.zeros(1, np.int64)
        for scratch in self._scratch:
            scratch.costs.fill(0)

        def work(thread: int) -> None:
            teams = self.threads if self.races else 1
            begin, last = (end * (thread + i) // teams if teams > 1 else end * i for i in (0, 1))
            of_team = (0, 1) if self.races else (thread, self.threads)
            scratch = self._scratch[thread if self.races else 0]
            matrices = self.inputs, self.outputs, self.size
            train(
                *of_team, counter, text, begin, last, rates, self.rule, self.tables, *matrices,
                np.uint64(2 * seed + 1), scratch,
            )  # fmt: skip

        run_threads(work, self.threads)
        costs = sum(scratch.costs.sum(0) for scratch in self._scratch)
        return float(costs[0]), float(costs[1])

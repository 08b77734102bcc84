"""Noise on the recurrence: dropout whose mask stays the same over time, and zoneout."""

import torch
from torch import Tensor
from torch.nn.functional import dropout

from saiki.cell import Cell, as_states
from saiki.cells import GRU


class Noisy(Cell, name="noisy.v1"):
    """A cell under noise that is drawn outside, so that the step itself remains a function.

    **Recurrent dropout** (Gal & Ghahramani 2016, §4.2): the products of the cell see h ∘ m, where m
    is one more state that never changes. **Zoneout** (Krueger et al. 2017, §3): each feature of
    each state keeps its old value where z = 1,

        s ← z ∘ s + (1 − z) ∘ s′

    and z comes with x at each step, behind its own features.

    Args:
        inner: the cell without noise.
        dropout: whether there is a mask m, the last state.
        zoneout: whether x brings z, with as many features as the states of ``inner`` together.
    """

    def __init__(self, inner: Cell, dropout: bool, zoneout: bool) -> None:
        more = sum(inner.state_sizes) if zoneout else 0
        super().__init__(inner.input_size + more, inner.hidden_size)
        self.inner = inner
        self.dropout = dropout
        self.zoneout = zoneout

    @property
    def state_names(self) -> tuple[str, ...]:
        return (*self.inner.state_names, *(("m",) if self.dropout else ()))

    @property
    def state_sizes(self) -> tuple[int, ...]:
        sizes = self.inner.state_sizes
        return (*sizes, sizes[0]) if self.dropout else sizes

    def step(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        old, m = (state[:-1], state[-1:]) if self.dropout else (state, ())
        z: tuple[Tensor, ...] = ()
        if self.zoneout:
            x, *z = x.split((self.inner.input_size, *self.inner.state_sizes), -1)
        seen = old[0] * m[0] if m else old[0]
        if isinstance(self.inner, GRU):  # it carries all of h on
            _, update, n = self.inner.gates(x, seen)
            new: tuple[Tensor, ...] = (update * old[0] + (1 - update) * n,)
        else:
            new = as_states(self.inner.step(x, seen, *old[1:]))
        if z:
            new = tuple(k * s + (1 - k) * n for k, s, n in zip(z, old, new, strict=True))
        return *new, *m


def dropout_mask(like: Tensor, p: float) -> Tensor:
    """1 / (1 − p) with probability 1 − p, otherwise 0, so that the mean stays the same."""
    return torch.bernoulli(torch.full_like(like, 1 - p)) / (1 - p)


def zoneout_mask(x: Tensor, features: int, p: float, training: bool) -> Tensor:
    """z for each step: 1 with probability p; p itself, the mean, when not training."""
    mean = x.new_full((*x.shape[:-1], features), p)
    return torch.bernoulli(mean) if training else mean


def dropped(x: Tensor, p: float, training: bool, time_first: bool) -> Tensor:
    """x, batched or packed, after dropout as ``torch.nn`` has it between layers.

    Its layers compute with time first, whatever the input, and masks are drawn in the order in
    which numbers lie; so the same seed drops the same features here.
    """
    if x.dim() == 3 and not time_first:
        return dropped(x.transpose(0, 1), p, training, True).transpose(0, 1)
    if not training or x.is_contiguous():
        return dropout(x, p, training)
    return x * dropout(torch.ones_like(x, memory_format=torch.contiguous_format), p)

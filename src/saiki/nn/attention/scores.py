"""How well a query and each position of a memory fit: the scores of attention.

============== ======================================= ===========================================
score          with one head                           with several
============== ======================================= ===========================================
``additive``   vᵀ tanh(W q + U m)                      each head has a share of the rows of W and U
``dot``        qᵀm                                     (W q)ᵀ(U m) over a share of their rows
``scaled_dot`` qᵀm / √size                             (W q)ᵀ(U m) / √size, likewise
``general``    qᵀ(U m)                                 over a share of the features of q
``location``   wₛᵀq, whatever the memory holds         other w for each head
============== ======================================= ===========================================
"""

from typing import Literal

import torch
from torch import Tensor, nn

from saiki.errors import InputError

Name = Literal["additive", "dot", "scaled_dot", "general", "location"]
SCORES = ("additive", "dot", "scaled_dot", "general", "location")


class Score(nn.Module):
    """What all scores share: ``keys`` is called once for each memory, ``forward`` for each query.

    Queries and keys are projected, and their features split among the heads. With coverage a
    learned multiple of what was read of a position before, w cₛ, is added to its score; w is 0 in
    the beginning.

    Args:
        query: what projects ``(…, query_size)``.
        key: what projects ``(…, memory_size)``.
        heads: each with a share of the features of both.
        covered: for each head, the features that w cₛ has; None without coverage.
    """

    def __init__(
        self, query: nn.Module, key: nn.Module, heads: int, covered: int | None = None
    ) -> None:
        super().__init__()
        self.query = query
        self.key = key
        self.heads = heads
        self.w = None if covered is None else nn.Parameter(torch.zeros(heads, covered))

    def keys(self, memory: Tensor) -> Tensor:
        """``(batch, source, memory_size)`` to ``(batch, source, key_size)``."""
        keys: Tensor = self.key(memory)
        return keys

    def forward(self, query: Tensor, keys: Tensor, covered: Tensor | None = None) -> Tensor:
        """``(batch, time, query_size)`` to ``(batch, heads, time, source)``.

        Args:
            keys: as :meth:`keys` returns them.
            covered: ``(batch, time, source)``, the c of each step; needed with coverage.
        """
        seen = None
        if self.w is not None:
            assert covered is not None
            seen = covered.to(self.w.dtype)[:, None, ..., None] * self.w[:, None, None]
        return self.compare(split(self.query(query), self.heads), split(keys, self.heads), seen)

    def equation(self) -> str:
        """Of the score of a query h and a position s of a memory m."""
        raise NotImplementedError

    @property
    def _sides(self) -> tuple[str, str]:
        """Query and position, as they are projected."""
        q = "W h" if isinstance(self.query, nn.Linear) else "h"
        return q, "U mₛ" if isinstance(self.key, nn.Linear) else "mₛ"

    def compare(self, q: Tensor, k: Tensor, seen: Tensor | None) -> Tensor:
        """The scores ``(batch, heads, time, source)``.

        Args:
            q: ``(batch, heads, time, size)``.
            k: ``(batch, heads, source, size)``.
            seen: w c, ``(batch, heads, time, source, covered)``, if there is coverage.
        """
        raise NotImplementedError


def split(x: Tensor, heads: int) -> Tensor:
    """``(batch, steps, heads · size)`` to ``(batch, heads, steps, size)``."""
    return torch.unflatten(x, -1, (heads, -1)).transpose(1, 2)


class Additive(Score):
    """vᵀ tanh(W q + U m) (Bahdanau, Cho & Bengio 2015, appendix A.1.2).

    With coverage vᵀ tanh(W q + U m + w c), where w has the size of v (See, Liu & Manning 2017,
    §2.3, eq. 11).
    """

    def __init__(
        self, query: nn.Module, key: nn.Module, heads: int, size: int, coverage: bool
    ) -> None:
        super().__init__(query, key, heads, size if coverage else None)
        self.v = nn.Parameter(torch.empty(heads, size).uniform_(-(size**-0.5), size**-0.5))

    def equation(self) -> str:
        q, k = self._sides
        return f"vᵀ tanh({q} + {k}{'' if self.w is None else ' + w Σ p'})"

    def compare(self, q: Tensor, k: Tensor, seen: Tensor | None) -> Tensor:
        features = q[:, :, :, None] + k[:, :, None]
        if seen is not None:
            features = features + seen
        return (torch.tanh(features) @ self.v[:, None, :, None]).squeeze(-1)


class Dot(Score):
    """qᵀk (Luong, Pham & Manning 2015, §3.1); what q and k are says :func:`make`."""

    _scale = ""

    def equation(self) -> str:
        q, k = (f"({side})" if " " in side else side for side in self._sides)
        return f"{q}ᵀ {k}{self._scale}{'' if self.w is None else ' + w Σ p'}"

    def compare(self, q: Tensor, k: Tensor, seen: Tensor | None) -> Tensor:
        scores = q @ k.transpose(-1, -2)
        return scores if seen is None else scores + seen.squeeze(-1)


class ScaledDot(Dot):
    """qᵀk / √size (Vaswani et al. 2017, §3.2.1)."""

    _scale = " / √size"

    def compare(self, q: Tensor, k: Tensor, seen: Tensor | None) -> Tensor:
        return super().compare(q * q.shape[-1] ** -0.5, k, seen)


class Location(Score):
    """wₛᵀq, with weights for each position (Luong, Pham & Manning 2015, §3.1, eq. 8).

    Only the length of the memory matters.

    Args:
        longest: positions that there are weights for.
    """

    def __init__(self, query_size: int, heads: int, longest: int, coverage: bool) -> None:
        weights = nn.Linear(query_size, heads * longest, bias=False)
        super().__init__(weights, nn.Identity(), heads, 1 if coverage else None)
        self.longest = longest

    def keys(self, memory: Tensor) -> Tensor:
        if memory.shape[1] > self.longest:
            raise InputError(
                f"the memory has {memory.shape[1]} positions, and the score 'location' was made "
                f"for {self.longest} at most; give a larger longest, or take another score"
            )
        return memory

    def equation(self) -> str:
        return f"(W h)ₛ{'' if self.w is None else ' + w Σ p'}"

    def compare(self, q: Tensor, k: Tensor, seen: Tensor | None) -> Tensor:
        scores = q[..., : k.shape[-2]]
        return scores if seen is None else scores + seen.squeeze(-1)


def make(
    name: str,
    query_size: int,
    memory_size: int,
    heads: int,
    coverage: bool,
    hidden_size: int | None,
    longest: int | None,
) -> Score:
    """The score of that name; the arguments are those of :class:`saiki.nn.Attention`.

    Raises:
        InputError: they do not fit each other.
    """
    if name not in SCORES:
        raise InputError(f"score must be one of {', '.join(SCORES)}, got {name!r}")
    if (name == "location") != (longest is not None):
        raise InputError(
            "longest belongs to the score 'location', which needs it, and to no other; got "
            f"score={name!r} and longest={longest}"
        )
    projected = name == "additive" or (name in ("dot", "scaled_dot") and heads > 1)
    if hidden_size is not None and not projected:
        raise InputError(
            f"the score {name!r} with heads={heads} projects queries to no other size; leave "
            f"hidden_size={hidden_size} out"
        )
    if longest is not None:
        return Location(query_size, heads, longest, coverage)
    size = hidden_size or query_size
    if size % heads:
        raise InputError(
            f"{size} features of queries and keys cannot be shared among {heads} heads; give a "
            "number that can"
        )
    if not projected and name != "general" and query_size != memory_size:
        raise InputError(
            f"the score {name!r} needs queries and memory of the same size, got {query_size} and "
            f"{memory_size}; take 'general', which has a matrix between them"
        )
    query: nn.Module = nn.Identity()
    key: nn.Module = nn.Identity()
    if projected:
        query = nn.Linear(query_size, size, bias=False)
    if projected or name == "general":
        key = nn.Linear(memory_size, size, bias=False)
    if name == "additive":
        return Additive(query, key, heads, size // heads, coverage)
    return (ScaledDot if name == "scaled_dot" else Dot)(query, key, heads, 1 if coverage else None)

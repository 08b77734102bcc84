"""Codebooks: where the nearest code is found, and how codes follow what they are given for."""

import zlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki import processes
from saiki.nn.quantise.quantised import count

KMEANS_ITERATIONS = 10
SMOOTHING = 1e-5
"""Of the moving counts, so that none is 0 (Laplace smoothing)."""
RARE = 0.1
"""Share of an even usage below which a code is dead."""


class Codebook(nn.Module):
    """Codebooks side by side, ``vectors: (books, codes, size)``.

    Beside each code there are moving averages of how many vectors it is given for, N, and of their
    sum, m. Of n vectors z in a batch, in all processes together,

    N ← γ N + (1 − γ) n,  m ← γ m + (1 − γ) Σ z,  e ← m / N

    where the codes e follow them (van den Oord et al. 2017, appendix A.1); the N in that quotient
    is smoothed. A code whose N falls below a share of Σ N / codes is dead, and begins anew at a
    vector of the batch, drawn by its squared distance from its nearest code (as centres are in
    k-means++; Arthur & Vassilvitskii 2007), so that codes go where they are missed.

    Args:
        books: how many there are.
        codes: in each.
        size: features of a code.
        cosine: whether codes and vectors have length 1.
        by_gradient: whether the codes are parameters, rather than averages.
        decay: γ of the averages.
        kmeans: whether the codes begin as the centres of the first batch.
        revive: whether dead codes begin anew.
    """

    counts: Tensor
    sums: Tensor
    seed: Tensor
    updates: Tensor

    def __init__(
        self,
        books: int,
        codes: int,
        size: int,
        cosine: bool,
        by_gradient: bool,
        decay: float,
        kmeans: bool,
        revive: bool,
    ) -> None:
        super().__init__()
        self.cosine, self.by_gradient, self.decay = cosine, by_gradient, decay
        self.kmeans, self.revive = kmeans, revive
        vectors = torch.randn(books, codes, size) / size**0.5
        vectors = self.normalised(vectors)
        if by_gradient:
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
        self.register_buffer("counts", torch.ones(books, codes))
        self.register_buffer("sums", vectors.clone())
        self.register_buffer("seed", torch.randint(2**31, ()))
        self.register_buffer("updates", torch.tensor(0))

    def normalised(self, z: Tensor) -> Tensor:
        """Vectors as they are compared."""
        return F.normalize(z, dim=-1) if self.cosine else z

    @property
    def codes(self) -> Tensor:
        """``(books, codes, size)`` as they are given."""
        # of a copy, as those that are dead change in place; averaged codes need it too, as a mean
        # of weights over the training is shorter than 1
        return self.normalised(self.vectors.clone()) if self.cosine else self.vectors

    def nearest(self, z: Tensor) -> Tensor:
        """The number of the code nearest to each vector, ``(books, vectors)``.

        argminₖ |z − eₖ|² = argminₖ ½|eₖ|² − zᵀeₖ: one matrix product, of what lies around the mean
        of the codes, so that no digit is lost where all lies far from 0.

        Args:
            z: ``(books, vectors, size)``.
        """
        return nearest(z.detach(), self.codes.detach())

    def look_up(self, numbers: Tensor) -> Tensor:
        """The codes of these ``numbers: (books, …)``, ``(books, …, size)``."""
        codes = self.codes
        if len(codes) == 1:
            return F.embedding(numbers, codes[0])
        rows = torch.arange(len(codes), device=numbers.device)
        first = rows.view(-1, *[1] * (numbers.ndim - 1)) * codes.shape[1]
        return F.embedding(numbers + first, codes.flatten(0, 1))

    @torch.no_grad()
    def begin(self, z: Tensor) -> None:
        """Put the codes where the first batch is, ``z: (books, vectors, size)``, if they wait for
        it."""
        if not self.kmeans or self.updates > 0:
            return
        z, codes = _of_all(z), self.vectors.shape[1]
        if not z.isfinite().all():
            return
        numbers = self._sampled_rows(z, codes)
        centres = z.gather(1, numbers[:, :, None].expand(-1, -1, z.shape[2]))
        for _ in range(KMEANS_ITERATIONS):
            assignment = nearest(z, centres)
            counts, sums = count(assignment, codes).to(z), _sums(z, assignment, codes)
            means = self.normalised(sums / counts.clamp(min=1)[:, :, None])
            centres = torch.where(counts[:, :, None] > 0, means, centres)
        self.vectors.copy_(centres)
        self.counts.copy_(counts)
        self.sums.copy_(centres * counts[:, :, None])

    @torch.no_grad()
    def update(self, z: Tensor, numbers: Tensor, counts: Tensor) -> None:
        """Learn from a batch of all processes.

        Args:
            z: ``(books, vectors, size)``.
            numbers: of the codes given for them, ``(books, vectors)``.
            counts: how often each code was given, in all processes, ``(books, codes)``.
        """
        codes = self.vectors.shape[1]
        sums = None if self.by_gradient else processes.total(_sums(z, numbers, codes))
        if sums is not None and not sums.isfinite().all():
            return  # the training stops at this batch, and the codes stay what they were
        self.updates += 1
        self.counts.lerp_(counts.to(self.counts), 1 - self.decay)
        if sums is not None:
            self.sums.lerp_(sums.to(self.sums), 1 - self.decay)
            total = self.counts.sum(1, keepdim=True)
            smooth = (self.counts + SMOOTHING) / (total + codes * SMOOTHING) * total
            self.vectors.copy_(self.normalised(self.sums / smooth[:, :, None]))
        if self.revive:
            self._revive(z)

    def _revive(self, z: Tensor) -> None:
        even = self.counts.mean(1, keepdim=True)
        dead = self.counts < RARE * even
        if not dead.any():
            return
        z = _of_all(z)
        if not z.isfinite().all():
            return
        missed = (z - self.look_up(self.nearest(z)).to(z)).square().sum(2)
        chance = torch.rand(missed.shape, generator=self._random(), dtype=torch.float64)
        waits = -chance.log().to(missed.device) / missed  # the first n are n draws by those weights
        for book, is_dead in enumerate(dead):
            # where more are dead than there are vectors amiss, some wait for the next batch
            limit = min(int(is_dead.sum()), int(waits[book].isfinite().sum()))
            rows = is_dead.nonzero()[:limit, 0]
            new = z[book, waits[book].argsort()[:limit]].to(self.vectors)
            self.vectors[book, rows] = new
            self.counts[book, rows] = even[book]
            self.sums[book, rows] = new * even[book]

    def _random(self) -> torch.Generator:
        """Another one at each update, the same in every process."""
        key = zlib.crc32(f"{int(self.seed)} {int(self.updates)}".encode())
        return torch.Generator().manual_seed(key)

    def _sampled_rows(self, z: Tensor, wanted: int) -> Tensor:
        """Numbers of ``wanted`` vectors of each book, all different while there are enough."""
        random = self._random()
        vectors, rows = z.shape[1], list[Tensor]()
        for _ in z:
            times = -(-wanted // vectors)
            shuffled = [torch.randperm(vectors, generator=random) for _ in range(times)]
            rows.append(torch.cat(shuffled)[:wanted])
        return torch.stack(rows).to(z.device)


def nearest(z: Tensor, codes: Tensor) -> Tensor:
    """See :meth:`Codebook.nearest`; ``codes: (books, codes, size)``."""
    codes = codes.to(z)
    centre = codes.mean(1, keepdim=True)
    codes = codes - centre
    half = codes.square().sum(2)[:, None] / 2
    return torch.baddbmm(half, z - centre, codes.mT, alpha=-1).argmin(2)


def _sums(z: Tensor, numbers: Tensor, codes: int) -> Tensor:
    """The sum of the vectors of each code, ``(books, codes, size)``."""
    books, _, size = z.shape
    first = torch.arange(books, device=z.device)[:, None] * codes
    sums = z.new_zeros(books * codes, size)
    return sums.index_add_(0, (numbers + first).flatten(), z.flatten(0, 1)).view(books, codes, size)


def _of_all(z: Tensor) -> Tensor:
    """The vectors of all processes, ``(books, vectors, size)``."""
    return processes.gathered(z.transpose(0, 1)).transpose(0, 1)

"""Vector quantisation (van den Oord, Vinyals & Kavukcuoglu 2017, arXiv 1711.00937)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saiki import processes
from saiki.errors import InputError
from saiki.nn.quantise.codebook import Codebook
from saiki.nn.quantise.quantised import GRADIENTS, Quantised, count
from saiki.saving.pretrained import DescribedModule

LEARNING = {
    "average": "moving averages of the vectors they are given for",
    "gradient": "parameters, pulled to the vectors they are given for",
}
"""How codes are learned."""


class VectorQuantizer(DescribedModule, name="vector_quantizer.v1"):
    """A vector becomes the nearest code of a codebook (van den Oord et al. 2017, eq. 1 to 3).

    k = argminₖ |z − eₖ|²,  q = eₖ,  E = β |z − sg(eₖ)|² [+ |sg(z) − eₖ|²]

    The mean of |·|² over features and vectors is meant, and sg stops the gradient; the second term
    is there where codes are learned by gradient. In training the codes change after they have been
    given, so that codes and vectors of a result belong to each other; in evaluation nothing
    changes. Distances are computed in float32 at least, whatever is on around.

    Several ``heads`` cut a vector into parts, each with a codebook of its own (a product code;
    Jégou, Douze & Schmid 2011). With several ``stages`` each further codebook is given what the
    ones before it left, r₁ = z, rᵢ₊₁ = rᵢ − qᵢ, q = Σ qᵢ, E = Σ Eᵢ (a residual code; Zeghidour et
    al. 2021, §III.C). The codes of a vector are those of the first stage's heads, then the
    second's.

    With several processes all learn from the batches of all of them. Where gradients of several
    batches are added up, each batch moves the averages.

    Args:
        size: features of a vector.
        codes: of a codebook.
        heads: parts of a vector.
        stages: codebooks one after the other.
        cosine: whether vectors and codes are brought to length 1 and compared by their angle. The
            result then has length 1 in each head.
        learning: a name of :data:`LEARNING`, by which codes are learned.
        gradient: how it passes to z: ``"straight-through"``, or ``"rotation"``, see
            :func:`~saiki.nn.quantise.quantised.rotated`.
        commitment: β, which pulls z to its code.
        decay: of the moving averages.
        kmeans: whether the codes begin as centres of the first batch in training.
        revive: whether a code that is hardly ever given begins anew at a vector of the batch that
            has no code near it.

    Raises:
        InputError: an argument is not allowed, or, when it is used, the vectors have another size.

    >>> quantizer = VectorQuantizer(2, 4, kmeans=False).eval()
    >>> y = quantizer(torch.randn(3, 5, 2))
    >>> y.vectors.shape, y.codes.shape
    (torch.Size([3, 5, 2]), torch.Size([3, 5, 1]))
    >>> torch.equal(quantizer.decode(y.codes), y.vectors)
    True
    >>> 0 < y.usage <= 1 <= y.perplexity
    tensor(True)
    """

    def __init__(
        self,
        size: int,
        codes: int,
        heads: int = 1,
        stages: int = 1,
        cosine: bool = False,
        learning: str = "average",
        gradient: str = "straight-through",
        commitment: float = 0.25,
        decay: float = 0.95,
        kmeans: bool = True,
        revive: bool = True,
    ) -> None:
        super().__init__()
        if heads < 1 or size % heads:
            raise InputError(f"heads must divide the {size} features of a vector, got {heads}")
        if codes < 1 or stages < 1:
            raise InputError(f"codes and stages must be 1 or more, got {codes} and {stages}")
        if cosine and stages > 1:
            raise InputError("what a stage leaves has no length 1; give cosine or stages, not both")
        for name, value, known in (
            ("learning", learning, LEARNING),
            ("gradient", gradient, GRADIENTS),
        ):
            if value not in known:
                raise InputError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        if not 0 <= decay < 1:
            raise InputError(f"decay must be from 0 to below 1, got {decay}")
        self.size = self.input_size = size
        self.codes, self.heads, self.books = codes, heads, heads * stages
        self.commitment, self.cosine = commitment, cosine
        self.by_gradient = learning == "gradient"
        self.pass_gradient = GRADIENTS[gradient]
        codebook = (cosine, self.by_gradient, decay, kmeans, revive)
        self.stages = nn.ModuleList(
            Codebook(heads, codes, size // heads, *codebook) for _ in range(stages)
        )

    def forward(self, z: Tensor) -> Quantised:
        """``z: (…, size)``."""
        with _full_precision(z):
            start = self._parted(z)
            q, loss = torch.zeros_like(start), start.new_zeros(())
            numbers, counts = list[Tensor](), list[Tensor]()
            for stage in self._stages():
                rest = start - q
                if self.training:
                    stage.begin(rest)
                assignment = stage.nearest(rest)
                code_vectors = stage.look_up(assignment).to(rest)
                numbers.append(assignment)
                counts.append(count(assignment, self.codes))
                loss = loss + self.commitment * F.mse_loss(rest, code_vectors.detach())
                if self.by_gradient:
                    loss = loss + F.mse_loss(code_vectors, rest.detach())
                if self.training:
                    counts[-1] = processes.total(counts[-1])
                    stage.update(rest.detach(), assignment, counts[-1])
                q = q + code_vectors.detach()
            vectors = self._joined(self.pass_gradient(start, q), z)
            return Quantised(vectors, self._of_vectors(numbers, z), loss, torch.cat(counts))

    def encode(self, z: Tensor) -> Tensor:
        """The codes alone, ``(…, books)``, of ``z: (…, size)``; nothing is learned."""
        with _full_precision(z):
            rest, numbers = self._parted(z), list[Tensor]()
            for stage in self._stages():
                numbers.append(stage.nearest(rest))
                rest = rest - stage.look_up(numbers[-1]).to(rest)
            return self._of_vectors(numbers, z)

    def decode(self, codes: Tensor) -> Tensor:
        """The vectors, ``(…, size)``, of ``codes: (…, books)``."""
        stages = zip(self._stages(), codes.movedim(-1, 0).split(self.heads), strict=True)
        vectors = torch.stack([stage.look_up(numbers) for stage, numbers in stages]).sum(0)
        return vectors.movedim(0, -2).flatten(-2)

    def _stages(self) -> Iterator[Codebook]:
        for stage in self.stages:
            assert isinstance(stage, Codebook)
            yield stage

    def _parted(self, z: Tensor) -> Tensor:
        """``(…, size)`` to ``(heads, vectors, size / heads)``, in float32 at least."""
        if z.shape[-1] != self.size:
            raise InputError(f"vectors must have {self.size} features, got {tuple(z.shape)}")
        if z.dtype in (torch.bfloat16, torch.float16):
            z = z.float()
        parted = z.reshape(-1, self.heads, self.size // self.heads).transpose(0, 1)
        return F.normalize(parted, dim=-1) if self.cosine else parted

    def _joined(self, parted: Tensor, like: Tensor) -> Tensor:
        """Back to the shape and type of ``like``."""
        return parted.transpose(0, 1).reshape(like.shape).to(like.dtype)

    def _of_vectors(self, numbers: list[Tensor], like: Tensor) -> Tensor:
        """``(heads, vectors)`` of each stage to ``(…, books)``."""
        return torch.cat(numbers).T.reshape(*like.shape[:-1], self.books)

    def extra_repr(self) -> str:
        return f"size={self.size}, codes={self.codes}"

    @property
    def cost(self) -> str:
        """The loss, as an equation."""
        return f"{self.commitment:g} |z − sg(q)|²{' + |sg(z) − q|²' if self.by_gradient else ''}"

    def equations(self) -> str:
        """What becomes of a vector z."""
        parts = f", of each of {self.heads} parts of z" if self.heads > 1 else ""
        if self.cosine:
            nearest = f"k = argmaxⱼ eⱼᵀz / (|eⱼ| |z|){parts}"
        else:
            nearest = f"k = argminⱼ |z − eⱼ|²{parts}"
        lines = [nearest, "q ← eₖ"]
        if len(self.stages) > 1:
            lines.append(f"z ← z − q, of which the next of {len(self.stages)} codebooks is asked")
        if not self.by_gradient:
            lines.append("N ← γ N + (1 − γ) n, m ← γ m + (1 − γ) Σ z, e ← m / N, of each code")
        return "\n".join(lines)


def _full_precision(z: Tensor) -> AbstractContextManager[object]:
    """Mixed precision off, where it is on."""
    kind = z.device.type
    if torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()

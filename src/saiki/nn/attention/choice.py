"""Reading all positions of a memory at once, or choosing one: samples, and the estimators for them.

Let p be the distribution over positions, vᵢ their values and f a loss of what is read. A soft
choice has the loss f(Σᵢ pᵢ vᵢ). A hard one has Σᵢ pᵢ f(vᵢ), whose gradient is estimated from
samples i ∼ p, or computed in full:

============= =============== ==================================================================
choice        what is read    the gradient that p gets
============= =============== ==================================================================
``soft``      Σᵢ pᵢ vᵢ        exact
``reinforce`` vᵢ              from :func:`reinforce_loss`: unbiased, with much variance
``gumbel``    vᵢ              through a relaxed sample: biased, with less variance; :func:`choose`
``marginal``  each of the vᵢ  from :func:`marginal_log_likelihood`: exact
============= =============== ==================================================================

With "marginal" nothing is chosen: a model reads each ``memory.values[:, i]`` in its turn, and says
how likely the target is with it (Wu, Shapiro & Cotterell 2018). So the cost is that of as many
readouts as there are positions, and it is exact as long as what comes later does not depend on what
was read. The context is the mean of the values, for what does, such as a state.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from saiki.errors import InputError
from saiki.saving.pretrained import DescribedModule

Name = Literal["soft", "reinforce", "gumbel", "marginal"]
CHOICES = ("soft", "reinforce", "gumbel", "marginal")


class Choice(NamedTuple):
    """``weights`` to read with and ``probabilities``, both ``(…, source)``; ``log_choice`` and
    ``entropy``, ``(…)``, as :class:`saiki.nn.Attended` tells."""

    weights: Tensor
    probabilities: Tensor
    log_choice: Tensor | None
    entropy: Tensor | None


def choose(log_p: Tensor, choice: Name, temperature: float, sample: bool) -> Choice:
    """Choose from the logarithms of a distribution, ``(…, source)``.

    A sample is where log pᵢ + gᵢ is largest, with independent gᵢ of the standard Gumbel
    distribution: exactly a sample of p.

    "gumbel" is the straight-through Gumbel-softmax (Jang, Gu & Poole 2017, §2.2). It reads the
    sample, and differentiates y = softmax((log p + g) / τ) in its place. What is read has the right
    mean; **the gradient has not**. For a linear f it is that of E[f(Σᵢ yᵢ vᵢ)]: off by O(τ²) for
    small τ and vanishing for large τ, while its variance grows as 1 / τ. Any other f is moreover
    differentiated at the sample instead of at y. That error stays for τ → 0, where each difference
    f(vᵢ) − f(vⱼ) is taken to be ½ (∇f(vᵢ) + ∇f(vⱼ))ᵀ(vᵢ − vⱼ): right up to quadratic f, no further.

    Args:
        temperature: τ.
        sample: draw a position; if not, a hard choice is the most probable one, and no gradient
            comes to p through the weights.
    """
    p = log_p.exp()
    if choice == "soft":
        return Choice(p, p, None, None)
    entropy = -(p * log_p.masked_fill(log_p == -torch.inf, 0.0)).sum(-1)
    if choice == "marginal":
        return Choice(p, p, None, entropy)
    noisy = log_p - torch.empty_like(log_p).exponential_().log() if sample else log_p
    chosen = noisy.argmax(-1, keepdim=True)
    weights = torch.zeros_like(log_p).scatter(-1, chosen, 1.0)
    if choice == "reinforce":
        return Choice(weights, p, log_p.gather(-1, chosen).squeeze(-1), entropy)
    if sample:
        y = (noisy / temperature).softmax(-1)
        weights = weights + (y - y.detach())
    return Choice(weights, p, None, entropy)


def reinforce_loss(
    log_choice: Tensor,
    reward: Tensor,
    baseline: Tensor | float = 0.0,
    entropy: Tensor | None = None,
    entropy_weight: float = 0.0,
    mask: Tensor | None = None,
) -> Tensor:
    """−(r − b) log p(i) − λ H, the mean over choices (Xu et al. 2015, §4.1; Williams 1992).

    Its gradient is an unbiased estimate of what p gets from −Σᵢ pᵢ rᵢ − λ H(p), for every baseline
    b that does not depend on the choice. Only p gets it: a model whose reward is log p(y | vᵢ) adds
    the loss −log p(y | vᵢ), from which everything else learns.

    b near the mean reward takes away most of the variance. It may be a :class:`MovingBaseline`; or
    the reward of the same examples with ``best=True``, without gradients (self-critical; Rennie et
    al. 2017).

    Args:
        log_choice: ``(batch,)`` or ``(batch, time)``.
        reward: r, the more the better, of that shape; or ``(batch,)``, for all steps of a row.
            No gradient goes through it, nor through the baseline.
        baseline: b, a number or of the shape of the reward.
        entropy: H, of the shape of ``log_choice``; it keeps p from settling early.
        entropy_weight: λ.
        mask: of the shape of ``log_choice``, True where a step is real; all are if None. What the
            rewards of the others hold is never read.

    Raises:
        InputError: shapes do not fit, or there is an entropy without a weight, or the reverse.
    """
    b = torch.as_tensor(baseline, dtype=reward.dtype, device=reward.device)
    if reward.shape not in (log_choice.shape, log_choice.shape[:1]):
        raise InputError(
            f"the reward must have the shape {tuple(log_choice.shape)} of the choices, or hold one "
            f"number for each row, got {tuple(reward.shape)}"
        )
    if b.ndim and b.shape != reward.shape:
        raise InputError(
            f"the baseline must be a number or have the shape {tuple(reward.shape)} of the reward, "
            f"got {tuple(b.shape)}"
        )
    if (entropy is None) != (entropy_weight == 0):
        raise InputError(
            "entropy and entropy_weight go together, got "
            f"{'no entropy' if entropy is None else 'entropy'} with weight {entropy_weight}"
        )
    if entropy is not None and entropy.shape != log_choice.shape:
        raise InputError(
            f"the entropy must have the shape {tuple(log_choice.shape)} of the choices, got "
            f"{tuple(entropy.shape)}"
        )
    advantage = (reward - b).detach()
    if advantage.ndim < log_choice.ndim:
        advantage = advantage[:, None].expand_as(log_choice)
    if mask is not None:
        check_mask(mask, log_choice.shape)
        advantage = advantage.masked_fill(~mask, 0.0)
    loss = -advantage * log_choice
    if entropy is not None:
        loss = loss - entropy_weight * entropy
    return mean_of_real(loss, mask)


class MovingBaseline(DescribedModule, name="moving_baseline.v1"):
    """The exponential moving average of earlier rewards (Xu et al. 2015, §4.1).

    b = Σₖ decayᵏ rₖ / Σₖ decayᵏ, where rₖ is the mean reward k batches before the last one; 0 when
    there was none. The division, which Xu et al. lack, keeps the first ones from counting too
    little.

    >>> baseline = MovingBaseline(decay=0.5)
    >>> [baseline(torch.tensor([r, r + 1])).item() for r in (1.0, 4.0, 0.0)]
    [0.0, 1.5, 3.5]

    Args:
        decay: from 0, which leaves the last batch alone, to below 1.
    """

    total: Tensor
    weight: Tensor

    def __init__(self, decay: float = 0.9) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise InputError(f"decay must be at least 0 and below 1, got {decay}")
        self.decay = decay
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    def forward(self, reward: Tensor, mask: Tensor | None = None) -> Tensor:
        """b, a number, from the batches before; then, in training, this one is added to them.

        Args:
            reward: of any shape.
            mask: of that shape, True where a step is real; all are if None.
        """
        b = self.total / self.weight.clamp_min(1)
        if self.training:
            self.total.mul_(self.decay).add_(mean_of_real(reward.detach(), mask))
            self.weight.mul_(self.decay).add_(1)
        return b


def marginal_log_likelihood(log_p: Tensor, log_likelihoods: Tensor) -> Tensor:
    """log Σᵢ pᵢ p(y | vᵢ), ``(…)``.

    Args:
        log_p: ``(…, source)``, −∞ where p is 0; see ``Attended.log_probabilities``.
        log_likelihoods: ``(…, source)``, log p(y | vᵢ) for the value of each position.
    """
    return torch.logsumexp(log_p + log_likelihoods, -1)


def mean_of_real(x: Tensor, mask: Tensor | None) -> Tensor:
    """The mean of x where ``mask``, of the same shape, is True; of all if it is None. As that of an
    empty tensor, the mean of none is NaN."""
    if mask is None:
        return x.mean()
    check_mask(mask, x.shape)
    return x.masked_fill(~mask, 0.0).sum() / mask.sum()


def check_mask(mask: Tensor, shape: torch.Size) -> None:
    if mask.shape != shape or mask.dtype != torch.bool:
        raise InputError(
            f"the mask must be bool of shape {tuple(shape)}, got {mask.dtype} of shape "
            f"{tuple(mask.shape)}"
        )

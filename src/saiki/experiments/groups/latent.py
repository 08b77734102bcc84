"""How strongly latent vectors are held to their prior, by its knobs, and what becomes of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saiki.errors import InputError
from saiki.experiment import Experiment, Measures, Trial
from saiki.experiments.groups.comparison import in_every_seed, spread
from saiki.knobs import Knobs, knob
from saiki.metrics.latent import active_units
from saiki.nn.latent import Bound, annealed, free_bits

USED, UNUSED = 1.0, 0.1
"""Nats, from which on a latent variable says something and below which it says nothing."""


@dataclass(frozen=True, eq=False)
class LatentMeasures:
    """What a variational autoencoder makes of each example, in float64.

    Args:
        log_likelihoods: ln p(x | z), ``(examples,)``.
        divergences: of each unit, ``(examples, latent_size)``.
        codes: ``(examples, latent_size)``.
    """

    log_likelihoods: Tensor
    divergences: Tensor
    codes: Tensor

    @property
    def reconstruction(self) -> float:
        """−ln p(x | z) of an example, in the mean."""
        return -self.log_likelihoods.mean().item()

    @property
    def kl(self) -> float:
        """The divergence of an example, in the mean."""
        return self.divergences.sum(1).mean().item()

    def validation(self, beta: float) -> dict[str, float]:
        """The curves of what validates, with the divergence weighed in full."""
        return {
            "validation_loss": self.reconstruction + beta * self.kl,
            "validation_reconstruction": self.reconstruction,
            "validation_kl": self.kl,
            "active_units": float(active_units(self.codes)),
        }


class Divergence(Knobs):
    """The weight of KL(posterior ‖ prior) in what training lowers, over its course."""

    beta: float = knob(
        1.0, "weight of the divergence in the end; 1: the bound itself", minimum=0, maximum=1e6
    )
    free_bits: float = knob(
        0.0, "nats that each unit may cost before it is held to its prior", minimum=0, maximum=1e3
    )
    annealing: float = knob(
        0.0, "share of each cycle in which the weight rises from 0 to beta", minimum=0, maximum=1
    )
    cycles: int = knob(1, "times that the weight rises", minimum=1, maximum=10_000)

    def validate(self) -> None:
        if self.cycles > 1 and not self.annealing:
            raise InputError(f"cycles are of annealing; with cycles {self.cycles} goes annealing")

    def check(self, variational: bool, samples: int) -> None:
        """Raise :class:`InputError` where nothing of an autoencoder is weighed by it.

        Args:
            samples: codes drawn for each image.
        """
        if not variational and (samples > 1 or not self.is_plain):
            raise InputError(
                "samples, beta, free_bits and annealing are of a variational autoencoder; leave "
                "them out, or take variational true"
            )
        if samples > 1 and not self.is_plain:
            raise InputError(
                "the importance-weighted bound has no part that could be weighed: with samples "
                f"{samples} goes beta 1, free_bits 0 and annealing 0"
            )

    @property
    def is_plain(self) -> bool:
        """Whether training lowers the bound itself, at all times."""
        return self.beta == 1 and self.free_bits == 0 and self.annealing == 0

    def schedule(self, experiment: Experiment) -> Callable[[int], float]:
        """The weight at each update of a training, counted from 0."""
        how = self.beta, self.annealing, self.cycles
        return lambda update: annealed(*how, update, experiment.iterations)

    def cost(self, divergence: Tensor) -> Tensor:
        """What training lowers of the divergence of each unit, ``(batch, size)``; one number."""
        return free_bits(divergence, self.free_bits)

    def measures(self, bound: Bound, weight: Tensor) -> Measures:
        """What training lowers, −ln p(x | z) and so much of the divergence, and both parts."""
        error, kl = -bound.log_likelihood.mean(), bound.divergence.sum(1).mean()
        loss = error + weight * self.cost(bound.divergence)
        return {"loss": loss, "reconstruction": error.detach(), "kl": kl.detach()}

    def equation(self) -> str:
        kl = f"Σⱼ max({self.free_bits:g}, KLⱼ)" if self.free_bits else "KL"
        beta = "" if self.beta == 1 and not self.annealing else "β "
        return f"{beta}{kl}"


def collapses(trials: Sequence[Trial], unit: str) -> tuple[bool, str]:
    """Whether a latent variable says something in the first setting, and nothing in the second.

    Args:
        unit: what there is one latent variable of, such as a sentence.
    """
    used, free = trials
    nats = [spread(trial.values("kl")) for trial in trials]
    message = f"KL with them {nats[0]} nats a {unit}, without {nats[1]}"
    is_used = in_every_seed([used], "kl", lambda kl: kl >= USED)
    return is_used and in_every_seed([free], "kl", lambda kl: kl <= UNUSED), message


def between(a: Tensor, b: Tensor, count: int) -> Tensor:
    """So many codes on the line from ``a`` to ``b``, ``(count, latent_size)``, both of them
    included."""
    share = torch.linspace(0, 1, count, dtype=a.dtype, device=a.device)[:, None]
    return a + share * (b - a)

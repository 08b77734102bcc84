"""The preset ``published`` of the exercise vae beside two others of the same shape: a plain PyTorch
VAE, and that of pythae where it is installed (``pip install pythae``).

All learn in turn from the same batches, with the same optimiser and as many steps, and each says by
its own estimator how improbable the same test images are to it: the importance-weighted bound with
200 samples (Burda, Grosse & Salakhutdinov 2016). Ours may not exceed another by more than 1 %.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from saiki.bench.harness import Row
from saiki.experiments.vae.exercise import Autoencoding
from saiki.experiments.vae.measures import nll
from saiki.training.loop import Training

PIXELS, HIDDEN, LATENT = 784, 400, 40
ALLOWED = 1.01


class PlainVAE(nn.Module):
    """Two layers each way, in as few words as PyTorch has for it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(PIXELS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENT)
        )
        self.decoder = nn.Sequential(
            nn.Linear(LATENT, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PIXELS)
        )

    def posterior(self, x: Tensor) -> Independent:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        return Independent(Normal(mean, (log_variance / 2).exp()), 1)

    def likelihood(self, z: Tensor) -> Independent:
        return Independent(Bernoulli(logits=self.decoder(z), validate_args=False), 1)

    def prior(self) -> Independent:
        return Independent(Normal(torch.zeros(LATENT), torch.ones(LATENT)), 1)

    def loss(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        q = self.posterior(x)
        return (kl_divergence(q, self.prior()) - self.likelihood(q.rsample()).log_prob(x)).mean()

    @torch.no_grad()
    def nll(self, images: Tensor, samples: int) -> float:
        total = 0.0
        for x in images.flatten(1).split(50):
            q = self.posterior(x)
            z = q.sample((samples,))
            weights = self.likelihood(z).log_prob(x) + self.prior().log_prob(z) - q.log_prob(z)
            total -= (weights.logsumexp(0) - math.log(samples)).sum().item()
        return total / len(images)


@dataclass
class Contender:
    """A model, the loss of a batch, and its own estimate of −ln p(x)."""

    model: nn.Module
    loss: Callable[[Tensor], Tensor]
    nll: Callable[[Tensor, int], float]


def of_pythae() -> Contender:
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    plain = PlainVAE()

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = plain.encoder

        def forward(self, x: Tensor) -> ModelOutput:
            mean, log_variance = self.layers(x.flatten(1)).chunk(2, 1)
            return ModelOutput(embedding=mean, log_covariance=log_variance)

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.layers = plain.decoder

        def forward(self, z: Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.layers(z).sigmoid().unflatten(1, (1, 28, 28)))

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())

    def estimate(images: Tensor, samples: int) -> float:
        with torch.no_grad():
            return -float(model.get_nll(images, samples, min(samples, 100)))

    return Contender(model, lambda x: model({"data": x}).loss, estimate)


def train(contender: Contender, batches: Iterator, steps: int, rate: float) -> None:
    optimiser = torch.optim.Adam(contender.model.parameters(), lr=rate)
    for _ in range(steps):
        x, _ = next(batches)
        optimiser.zero_grad()
        contender.loss(x).backward()
        optimiser.step()


def ours(experiment: Autoencoding, images: Tensor, samples: int) -> float:
    torch.manual_seed(experiment.seed)
    training = Training(experiment, experiment.model())
    training.run(lambda point: None)
    return nll(training.model, images, samples)


def rows(
    epochs: float = 50.0, seeds: int = 1, samples: int = 200, images: int = 10_000
) -> Iterator[Row]:
    nats: dict[str, list[float]] = {}
    for seed in range(seeds):
        knobs = {**Autoencoding.preset("published"), "epochs": epochs, "seed": seed}
        experiment = Autoencoding.from_dict({**knobs, "device": "cpu"})
        tested = experiment.tested[:images]
        rate, steps = experiment.optimisation.learning_rate, experiment.iterations
        nats.setdefault("saiki", []).append(ours(experiment, tested, samples))
        torch.manual_seed(seed)
        plain = PlainVAE()
        others = {"plain PyTorch": Contender(plain, plain.loss, plain.nll)}
        if find_spec("pythae") is not None:
            others["pythae"] = of_pythae()
        for name, contender in others.items():
            train(contender, experiment.data.batches(experiment.seed), steps, rate)
            nats.setdefault(name, []).append(contender.nll(tested, samples))
        ratios = {name: sum(nats["saiki"]) / sum(nats[name]) for name in others}
        yield {
            "workload": f"vae, {seed + 1} seeds",
            "steps": steps,
            "samples": samples,
            "images": len(tested),
            "nats": {name: [*values] for name, values in nats.items()},
            "of it": ratios,
            **({"missed": "1 % above another"} if max(ratios.values()) > ALLOWED else {}),
        }

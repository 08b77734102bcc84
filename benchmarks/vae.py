"""The preset ``published`` of the exercise vae beside two others of the same shape: a plain PyTorch
VAE, and that of pythae where it is installed (``pip install pythae``).

    python benchmarks/vae.py --epochs 50 --json benchmarks/results/vae.json

All learn in turn from the same batches, with the same optimiser and as many steps, and each says by
its own estimator how improbable the same test images are to it: the importance-weighted bound with
200 samples (Burda, Grosse & Salakhutdinov 2016). Ours may not exceed another by more than 1 %.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

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

    def said(self, z: Tensor) -> Independent:
        return Independent(Bernoulli(logits=self.decoder(z), validate_args=False), 1)

    def prior(self) -> Independent:
        return Independent(Normal(torch.zeros(LATENT), torch.ones(LATENT)), 1)

    def loss(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        q = self.posterior(x)
        return (kl_divergence(q, self.prior()) - self.said(q.rsample()).log_prob(x)).mean()

    @torch.no_grad()
    def nll(self, images: Tensor, samples: int) -> float:
        total = 0.0
        for x in images.flatten(1).split(50):
            q = self.posterior(x)
            z = q.sample((samples,))
            weights = self.said(z).log_prob(x) + self.prior().log_prob(z) - q.log_prob(z)
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=float, default=50.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--images", type=int, default=10_000, help="test images that are judged")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    found: dict[str, list[float]] = {}
    for seed in range(options.seeds):
        knobs = {**Autoencoding.preset("published"), "epochs": options.epochs, "seed": seed}
        experiment = Autoencoding.from_dict({**knobs, "device": "cpu"})
        images = experiment.tested[: options.images]
        rate, steps = experiment.optimisation.learning_rate, experiment.iterations
        found.setdefault("saiki", []).append(ours(experiment, images, options.samples))
        torch.manual_seed(seed)
        plain = PlainVAE()
        others = {"plain PyTorch": Contender(plain, plain.loss, plain.nll)}
        try:
            others["pythae"] = of_pythae()
        except ImportError:
            print("pythae is not installed, and is left out", file=sys.stderr)
        for name, contender in others.items():
            train(contender, experiment.data.batches(experiment.seed), steps, rate)
            estimate = contender.nll(images, options.samples)
            found.setdefault(name, []).append(estimate)
        for name, values in found.items():
            print(f"seed {seed}  {name:14} {values[-1]:9.3f} nats", flush=True)
    means = {name: sum(values) / len(values) for name, values in found.items()}
    ratios = {name: means["saiki"] / mean for name, mean in means.items() if name != "saiki"}
    for name, ratio in ratios.items():
        print(f"saiki / {name}: {ratio:.4f}")
    if options.json:
        about = {"steps": steps, "samples": options.samples, "images": len(images)}
        record = {**about, "torch": torch.__version__, "nll": found, "ratios": ratios}
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return int(max(ratios.values()) > ALLOWED)


if __name__ == "__main__":
    sys.exit(main())

"""What autoencoders make of images that they have not learned from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from saiki.data.images.labelled import balanced
from saiki.experiment import placed
from saiki.experiments.groups.latent import LatentMeasures
from saiki.metrics.images import share_as_near
from saiki.metrics.latent import variances
from saiki.models.autoencoder import VAE, Autoencoder
from saiki.nn.latent import importance_bound
from saiki.plots.latent import Plane

TOGETHER = 500
"""Images that are measured at once."""
DECODED = 2**23
"""Numbers that a decoder says at once."""
COMPARED, MULTIPLIED = 1000, 2**37
"""New images, and ones that come back, that are compared with all those learned from; fewer where
that would take more multiplications of each."""
WALK, PLACED, AROUND = 11, 2000, 2.5
"""Of a latent plane: images on a side of its walk, codes that are shown, and how far from 0 a walk
goes where codes are held to N(0, 1)."""


@dataclass(frozen=True, eq=False)
class ImageMeasures(LatentMeasures):
    """Of each image, in float64, of one code drawn.

    Args:
        errors: mean squared error of a pixel, ``(images,)``.
    """

    errors: Tensor


@torch.no_grad()
def measure_images(model: Autoencoder, images: Tensor) -> ImageMeasures:
    """What becomes of each of the images, ``(images, *shape)``; always with the same noise."""
    parts, noise = list[tuple[Tensor, ...]](), _noise(model)
    for x in images.split(TOGETHER):
        x = placed(x, model)
        bound = model.bound(x, generator=noise)
        error = (model.decode(bound.code) - x).square().mean((1, 2, 3))
        columns = bound.log_likelihood[0], bound.divergence, bound.code, error
        parts.append(tuple(column.to("cpu", torch.float64) for column in columns))
    return ImageMeasures(*(torch.cat(column) for column in zip(*parts, strict=True)))


@torch.no_grad()
def nll(model: VAE, images: Tensor, samples: int) -> float:
    """−ln p(x) of an image at most, in the mean, in nats: the importance-weighted bound with so
    many samples (Burda, Grosse & Salakhutdinov 2016, §5)."""
    noise = _noise(model)
    most = max(1, DECODED // (model.likelihood.outputs * images[0].numel()))
    bounds = list[Tensor]()
    for x in images.split(max(1, most // samples)):
        x = placed(x, model)
        counts = (min(most, samples - at) for at in range(0, samples, most))
        weights = [model.bound(x, count, noise).log_weights for count in counts]
        bounds.append(importance_bound(torch.cat(weights)).to("cpu", torch.float64))
    return -torch.cat(bounds).mean().item()


@torch.no_grad()
def walked(model: Autoencoder, codes: Tensor, labels: Tensor, classes: Sequence[str]) -> Plane:
    """The plane of the two units whose codes differ most, and what is decoded on a walk over it;
    all other units have their mean.

    Args:
        codes: of images, ``(images, latent_size)``.
        labels: the number of the class of each.
    """
    first, second = sorted(variances(codes).argsort(descending=True)[:2].tolist())
    prior = isinstance(model, VAE)
    some = balanced(labels, PLACED, 0).numpy()
    shown = codes[:, [first, second]].numpy()
    low, high = np.quantile(shown, [0.02, 0.98], axis=0)
    if prior:
        low, high = np.full(2, -AROUND), np.full(2, AROUND)
    columns, rows = (np.linspace(a, b, WALK) for a, b in zip(low, high, strict=True))
    z = codes.mean(0).repeat(WALK**2, 1)
    z[:, first] = torch.from_numpy(np.tile(columns, WALK))
    z[:, second] = torch.from_numpy(np.repeat(rows[::-1], WALK).copy())
    return Plane(
        shown[some], labels.numpy()[some], classes, (first, second),
        model.decode(placed(z, model)), (columns.tolist(), rows.tolist()), prior,
    )  # fmt: skip


@torch.no_grad()
def samples_near(model: Autoencoder, learned: Tensor, held: Tensor) -> float:
    """Of codes drawn from N(0, 1), the share that become images as near to one that was learned
    from as 95 in 100 of those that come back are: little where codes leave holes.

    Args:
        learned: bytes, ``(images, *shape)``.
        held: images kept apart, as the network sees them.
    """
    count = min(len(held), max(50, MULTIPLIED // learned.numel()))
    most, noise = max(1, DECODED // (model.likelihood.outputs * held[0].numel())), _noise(model)
    some = held[torch.linspace(0, len(held) - 1, count).long()]
    back = [model(placed(x, model)).cpu() for x in some.split(most)]
    new = [model.sample(len(x), noise).cpu() for x in back]
    return share_as_near(torch.cat(new), torch.cat(back), learned)


def _noise(model: nn.Module) -> torch.Generator:
    return torch.Generator(next(model.parameters()).device).manual_seed(0)

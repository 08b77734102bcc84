"""What autoencoders with codes make of images that they have not learned from."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from saiki.data.images.labelled import Images
from saiki.experiment import Figures
from saiki.experiments.groups.quantisation import codebook_figures, known_labels
from saiki.metrics.images import frechet_distance, sharpness
from saiki.metrics.latent import active_units
from saiki.models.image_judge import ImageJudge
from saiki.models.vqvae import VQVAE, GaussianLatent

NUMBERS = 2**23
"""Values of images, and of features, that are held at once."""
PROBED, NEW_COMPARED = 10_000, 2000
"""Images that the probe learns from at most, and new ones that are compared with others."""


def batches_of(model: VQVAE, images: Images) -> Iterator[tuple[Tensor, Tensor]]:
    """Images from 0 to 1 and their labels, as many as fit with their distances from all codes."""
    codes = model.quantiser.books * model.quantiser.codes
    widest = max(images.pixels[0].numel(), math.prod(model.places) * max(64, codes))
    for rows in torch.arange(len(images)).split(max(1, NUMBERS // widest)):
        yield as_seen(images[rows], model)


def as_seen(images: Images, model: VQVAE) -> tuple[Tensor, Tensor]:
    """Images from 0 to 1 and their labels, where the model is."""
    like = next(model.parameters())
    pixels, labels = images.pixels.to(like.device), images.labels.to(like.device)
    return pixels.to(like.dtype) / 255, labels


@torch.no_grad()
def measured(model: VQVAE, images: Images) -> dict[str, float]:
    """Figures of each part of the model on images kept apart."""
    error, nll, kl = 0.0, 0.0, 0.0
    counts, means = list[Tensor](), list[Tensor]()
    for x, labels in batches_of(model, images):
        autoencoded, share = model.autoencode(x), len(x) / len(images)
        latent = autoencoded.latent
        error += share * (autoencoded.images.clamp(0, 1) - x).square().mean().item()
        counts.append(latent.counts)
        if model.prior is not None:
            each = model.prior.nll(latent.codes, known_labels(model.prior, labels))
            nll += share * each.mean().item()
        if isinstance(model.quantiser, GaussianLatent):
            kl += share * latent.loss.item()
            means.append(latent.vectors.flatten(1))
    figures = {"reconstruction_error": error}
    if model.quantiser.books:
        figures |= codebook_figures(torch.stack(counts).sum(0))
    if model.prior is not None:
        figures["prior_nll"] = nll
    if means:
        units, active = means[0].shape[1], active_units(torch.cat(means))
        figures |= {"kl": kl, "active_units": float(active), "active_share": active / units}
    return figures


@torch.no_grad()
def fit_probe(model: VQVAE, images: Images) -> None:
    """Have the probe of the model learn the classes of images, or of as many of them as are held
    at once; nothing where there is one class."""
    if len(model.classes) < 2:
        return
    size = model.probe_weight.shape[1]
    some = images.some(min(PROBED, max(2, 2 * NUMBERS // size)), 0)
    parts = [(model.latent(x).vectors, labels) for x, labels in batches_of(model, some)]
    model.fit_probe(*(torch.cat(column) for column in zip(*parts, strict=True)))


@torch.no_grad()
def probe_accuracy(model: VQVAE, images: Images) -> float | None:
    """The share of images of which the probe sees the class; None where it has learned none."""
    if not model.can_probe:
        return None
    right = [
        model.probed(model.latent(x).vectors).argmax(1) == labels
        for x, labels in batches_of(model, images)
    ]
    return torch.cat(right).double().mean().item()


@torch.no_grad()
def perceptual_figures(model: VQVAE, learned: Images, held: Images, updates: int) -> Figures:
    """How sharp images are that come back, beside what they were, and how far they and new ones are
    from those kept apart, in the features of a classifier that saw those learned from."""
    squares, seen = torch.zeros(2, dtype=torch.float64), list[tuple[Tensor, Tensor]]()
    judge = None
    if updates > 0 and len(held.classes) > 1 and len(held) > 1:
        judge = ImageJudge.fitted(learned.pixels, learned.labels, len(held.classes), updates)
    for x, _ in batches_of(model, held):
        back = model(x)
        squares += len(x) * torch.tensor([sharpness(back), sharpness(x)]).double().square()
        if judge is not None:
            seen.append((judge.features(x.cpu()), judge.features(back.cpu())))
    steep, wanted = squares.sqrt().tolist()
    figures: Figures = {"sharpness": steep / wanted if wanted else None}
    if judge is not None:
        real, back = (torch.cat(column) for column in zip(*seen, strict=True))
        figures["frechet_reconstructions"] = frechet_distance(real, back)
        if model.can_draw:
            # in a random order, so that of each class there are as many as among those kept apart
            order = torch.randperm(len(held), generator=torch.Generator().manual_seed(0))
            new = judge.features(new_images(model, held.labels[order[:NEW_COMPARED]]).cpu())
            figures["frechet_samples"] = frechet_distance(real, new)
    return figures


def new_images(model: VQVAE, labels: Tensor) -> Tensor:
    """New images, one for each label, always the same; where the model knows no classes, of none in
    particular."""
    device = next(model.parameters()).device
    random = torch.Generator(device).manual_seed(0)
    most = max(1, NUMBERS // max(math.prod(model.shape), 512, model.quantiser.codes))
    return torch.cat(
        [
            model.sample(len(part), known_labels(model.prior, part), generator=random)
            for part in labels.to(device).split(most)
        ]
    )

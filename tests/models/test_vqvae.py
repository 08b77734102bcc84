"""Autoencoders with codes: parts that fit, gradients where they should be, and the VAE beside."""

import pytest
import torch
from torch.nn import functional as F

from saiki.cells import LSTM
from saiki.errors import InputError
from saiki.layers.recurrent import Recurrent
from saiki.models import VQVAE, CodePrior
from saiki.models.parts import Part
from saiki.models.vqvae import GaussianLatent, PlainLatent
from saiki.nn import ScalarQuantizer, VectorQuantizer
from saiki.saving.description import describe, make

LATENTS = {
    "codes": lambda: VectorQuantizer(6, 9),
    "product": lambda: VectorQuantizer(6, 9, heads=2),
    "residual": lambda: VectorQuantizer(6, 9, stages=3, gradient="rotation"),
    "scalars": lambda: ScalarQuantizer((3, 4)),
    "gaussian": lambda: GaussianLatent(6),
    "plain": lambda: PlainLatent(6),
}


def model(latent="codes", shape=(3, 9, 7), seed=0, classes=("a", "b")):
    torch.manual_seed(seed)
    quantiser = LATENTS[latent]()
    prior = None
    if quantiser.books:
        prior = CodePrior((3, 2, quantiser.books), quantiser.codes, Recurrent(LSTM(4, 5)), 2)
    return VQVAE(shape, quantiser, 8, 2, prior, classes)


@pytest.mark.parametrize("latent", LATENTS)
def test_an_image_of_odd_size_comes_back_in_its_size(latent):
    vqvae = model(latent)
    x = torch.rand(4, 3, 9, 7)
    autoencoded = vqvae.autoencode(x)
    assert autoencoded.images.shape == x.shape
    assert autoencoded.latent.vectors.shape == (4, 3, 2, vqvae.quantiser.size)
    assert autoencoded.latent.codes.shape == (4, 3, 2, vqvae.quantiser.books)
    vqvae.eval()
    assert torch.allclose(vqvae.images(vqvae.encode(x)), vqvae(x), atol=1e-6)
    assert torch.allclose(Part(vqvae, "images")(Part(vqvae, "encode")(x)), vqvae(x), atol=1e-6)
    restored = make(describe(vqvae)).eval()
    restored.load_state_dict(vqvae.state_dict())
    assert torch.equal(restored(x), vqvae(x))


@pytest.mark.parametrize("latent", LATENTS)
def test_all_that_learns_has_a_gradient(latent):
    vqvae = model(latent)
    autoencoded = vqvae.autoencode(torch.rand(4, 3, 9, 7))
    loss = autoencoded.loss
    if vqvae.prior is not None:
        loss = loss + vqvae.prior.nll(autoencoded.latent.codes, torch.tensor([0, 1, 0, 1])).mean()
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in vqvae.parameters())
    assert vqvae.encoder[0][0].weight.grad.abs().sum() > 0


def test_the_prior_pulls_no_codes():
    vqvae = model()
    codes = vqvae.autoencode(torch.rand(4, 3, 9, 7)).latent.codes
    vqvae.prior.nll(codes, torch.tensor([0, 1, 0, 1])).mean().backward()
    assert vqvae.encoder[0][0].weight.grad is None
    assert vqvae.prior.readout.weight.grad.abs().sum() > 0


def test_beside_it_the_gradient_of_the_vae_is_that_of_its_bound_at_the_best_variance():
    """D/2 ln(mean square error) + KL is the negative ELBO with the variance at its best."""
    x = torch.rand(5, 3, 9, 7, dtype=torch.float64)
    gradients = []
    for bound in (False, True):
        vqvae = model("gaussian").double()
        torch.manual_seed(3)
        autoencoded = vqvae.autoencode(x)
        size, error = 3 * 9 * 7, F.mse_loss(autoencoded.images, x)
        loss = size / 2 * error.log() + autoencoded.latent.loss if bound else autoencoded.loss
        loss.backward()
        scale = 2 * error.detach() / size if bound else 1
        gradients.append([scale * p.grad for p in vqvae.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_new_images_need_something_to_draw_from():
    assert model("codes").eval().sample(3, torch.tensor([0, 1, 0])).shape == (3, 3, 9, 7)
    assert model("gaussian").eval().sample(3).shape == (3, 3, 9, 7)
    assert not model("plain").can_draw
    with pytest.raises(InputError, match="no prior to draw from"):
        model("plain").sample(3)


def test_the_probe_reads_classes_out_of_latent_vectors():
    vqvae = model().eval()
    vectors = torch.randn(200, 3, 2, 6)
    labels = (vectors[:, 1, 1, 2] - vectors[:, 0, 0, 5] > 0.3).long()
    vqvae.fit_probe(vectors[:150], labels[:150])
    assert (vqvae.probed(vectors[150:]).argmax(1) == labels[150:]).double().mean() > 0.85
    assert torch.allclose(vqvae.probed(vectors).sum(1), torch.ones(200))


def test_learning_makes_reconstructions_better_and_uses_codes():
    vqvae = model(shape=(1, 8, 8), classes=())
    x = torch.zeros(64, 1, 8, 8)
    x[torch.arange(64), 0, torch.arange(64) % 8] = 1
    optimiser = torch.optim.Adam(vqvae.parameters(), 0.003)
    for _ in range(400):
        optimiser.zero_grad()
        autoencoded = vqvae.autoencode(x)
        autoencoded.loss.backward()
        optimiser.step()
    assert vqvae.eval().autoencode(x).error < 0.02
    assert autoencoded.latent.usage > 0.5

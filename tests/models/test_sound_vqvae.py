"""Autoencoders of sounds: padding that never leaks, gradients where they should be, and waves."""

import pytest
import torch

from saiki.cells import GRU, LSTM
from saiki.errors import InputError
from saiki.layers.bidirectional import Bidirectional
from saiki.layers.recurrent import Recurrent
from saiki.models.parts import Part
from saiki.models.sequence_code_prior import SequenceCodePrior
from saiki.models.sound_vqvae import SoundVQVAE
from saiki.models.vqvae import GaussianLatent, PlainLatent
from saiki.nn import ScalarQuantizer, VectorQuantizer
from saiki.nn.spectrum import LogSpectrum
from saiki.saving.description import describe, make

pytestmark = pytest.mark.one_in(3)

LATENTS = {
    "codes": lambda: VectorQuantizer(6, 5),
    "product": lambda: VectorQuantizer(6, 5, heads=2, gradient="rotation"),
    "residual": lambda: VectorQuantizer(6, 5, stages=3, learning="gradient"),
    "scalars": lambda: ScalarQuantizer((3, 4)),
    "gaussian": lambda: GaussianLatent(6),
    "plain": lambda: PlainLatent(6),
}
LENGTHS = torch.tensor([300, 7, 1, 164])
"""Of which some are shorter than a window."""


def model(latent="codes", each=3, seed=0):
    torch.manual_seed(seed)
    spectrum, quantiser, prior = LogSpectrum(8000, 32, 8), LATENTS[latent](), None
    if quantiser.books:
        prior = SequenceCodePrior(quantiser.books, quantiser.codes, Recurrent(GRU(4, 5)), 2)
    encoder = Bidirectional(LSTM(each * spectrum.bins, 7))
    decoder = Bidirectional(GRU(quantiser.size, 7))
    return SoundVQVAE(spectrum, quantiser, encoder, decoder, each, prior, ("a", "b"))


def waves(seed=0, kind=torch.float32):
    torch.manual_seed(seed)
    return torch.randn(4, 300, dtype=kind)


@pytest.mark.parametrize("latent", LATENTS)
def test_a_batch_equals_its_rows_one_by_one_whatever_the_padding_holds(latent):
    vqvae, x = model(latent).double().eval(), waves(kind=torch.float64)
    codes, steps = vqvae.encode(x, LENGTHS)
    assert steps.tolist() == [13, 1, 1, 7]
    z, frames = vqvae.spectrum(x, LENGTHS)
    autoencoded = vqvae.autoencode(z, frames)
    assert autoencoded.spectra.shape == z.shape
    together = vqvae.waves(autoencoded.spectra, frames, LENGTHS)
    for row, length in enumerate(LENGTHS):
        count, steps_of_row = frames[row], steps[row]
        alone = vqvae.autoencode(z[row : row + 1, :count], frames[row : row + 1])
        assert torch.allclose(alone.spectra[0], autoencoded.spectra[row, :count], atol=1e-9)
        assert torch.equal(alone.codes[0], autoencoded.codes[row, :steps_of_row])
        assert (autoencoded.codes[row, steps_of_row:] == 0).all()
        assert alone.error.item() == pytest.approx(autoencoded.errors[row].item())
        ours, _ = vqvae.encode(x[row : row + 1, :length], LENGTHS[row : row + 1])
        assert torch.allclose(ours[0], codes[row, :steps_of_row])
        [wave] = vqvae.waves(alone.spectra, frames[row : row + 1], LENGTHS[row : row + 1])
        assert wave.shape == (length,)
        assert torch.allclose(wave, together[row], atol=1e-6)
    if vqvae.quantiser.books:
        assert torch.equal(codes, autoencoded.codes)
    encoded = Part(vqvae, "encode")(x, LENGTHS)
    real = torch.arange(z.shape[1]) < frames[:, None]
    decoded = Part(vqvae, "spectra")(*encoded)[:, : z.shape[1]]
    assert torch.allclose(decoded[real], autoencoded.spectra[real], atol=1e-9)


@pytest.mark.parametrize("latent", ["codes", "product", "residual", "scalars"])
def test_codes_of_padding_are_neither_counted_nor_learned_from(latent):
    x, steps = waves(), 13 + 1 + 1 + 7
    ours, theirs = model(latent).train(), model(latent).train()
    for _ in range(3):
        autoencoded = ours.autoencode(*ours.spectrum(x, LENGTHS))
        assert (autoencoded.latent.counts.sum(1) == steps).all()
        wider = torch.cat((x, torch.full((4, 200), 9.0)), 1)  # more padding, of something else
        wider[1:, 164:] = -7.0
        same = theirs.autoencode(*theirs.spectrum(wider, LENGTHS))
        assert torch.equal(same.latent.codes, autoencoded.latent.codes)
        assert same.loss.item() == pytest.approx(autoencoded.loss.item())
    for (name, a), b in zip(
        ours.quantiser.state_dict().items(), theirs.quantiser.state_dict().values(), strict=True
    ):
        assert torch.allclose(a, b), name


@pytest.mark.parametrize("latent", LATENTS)
def test_all_that_learns_has_a_gradient_and_the_prior_pulls_no_codes(latent):
    vqvae = model(latent).train()
    autoencoded = vqvae.autoencode(*vqvae.spectrum(waves(), LENGTHS))
    autoencoded.loss.backward()
    own = [p for name, p in vqvae.named_parameters() if not name.startswith("prior.")]
    assert all(torch.isfinite(p.grad).all() for p in own)
    assert vqvae.to_latent.weight.grad.abs().sum() > 0
    if vqvae.prior is not None:
        before = [p.grad.clone() for p in own]
        labels = torch.tensor([0, 1, 0, 1])
        vqvae.prior.nll(autoencoded.codes, labels, autoencoded.steps).mean().backward()
        assert all(torch.equal(p.grad, grad) for p, grad in zip(own, before, strict=True))
        assert all(torch.isfinite(p.grad).all() for p in vqvae.prior.parameters())


def test_the_divergence_is_weighed_against_the_values_of_a_step():
    """D/2 ln(mean square error) + KL is the negative ELBO of a step at the best variance."""
    gradients = []
    for bound in (False, True):
        vqvae, x = model("gaussian").double(), waves(kind=torch.float64)
        torch.manual_seed(3)
        full = torch.full((4,), 8 * 3 * 4 - 1)  # steps without padding
        autoencoded = vqvae.autoencode(*vqvae.spectrum(x[:, :95], full))
        size, error = 3 * 17, autoencoded.error
        loss = size / 2 * error.log() + autoencoded.latent.loss if bound else autoencoded.loss
        loss.backward()
        scale = 2 * error.detach() / size if bound else 1
        gradients.append([scale * p.grad for p in vqvae.parameters()])
    for a, b in zip(*gradients, strict=True):
        assert torch.allclose(a, b, atol=1e-12)


def test_new_sounds_are_drawn_of_a_class_and_the_same_for_a_seed():
    vqvae, labels = model("residual").eval(), torch.tensor([0, 1, 0])
    samples = [
        vqvae.sample(3, 6, labels, generator=torch.Generator().manual_seed(1)) for _ in range(2)
    ]
    for one, other in zip(*samples, strict=True):
        assert torch.equal(one, other)
        assert 1 <= (len(one) + 1) / (8 * 3) <= 6
        assert torch.isfinite(one).all()
    with pytest.raises(InputError, match="no prior to draw from"):
        model("plain").sample(3, 6)


def test_it_learns_tones_of_two_pitches():
    vqvae = model(each=4).train()
    t = torch.arange(300) / 8000
    x = torch.stack([torch.sin(2 * torch.pi * hertz * t) for hertz in (700, 2500)] * 4)
    z, frames = vqvae.spectrum(x, torch.tensor([300, 120] * 4))
    optimiser = torch.optim.Adam(vqvae.parameters(), 0.01)
    for _ in range(150):
        optimiser.zero_grad()
        autoencoded = vqvae.autoencode(z, frames)
        autoencoded.loss.backward()
        optimiser.step()
    assert vqvae.eval().autoencode(z, frames).error < 0.1 * z[0].var()
    assert not torch.equal(autoencoded.codes[0, :3], autoencoded.codes[1, :3])


def test_it_is_made_again_from_its_description():
    vqvae = model("product").eval()
    restored = make(describe(vqvae)).eval()
    restored.load_state_dict(vqvae.state_dict())
    assert torch.equal(restored(waves(), LENGTHS), vqvae(waves(), LENGTHS))
    assert "ẑ ← V y + c, of 3 frames" in vqvae.equations()


def test_layers_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="the encoder must read 51 features, got 50"):
        SoundVQVAE(LogSpectrum(8000, 32, 8), PlainLatent(6), LSTM(50, 7), LSTM(6, 7), 3)
    with pytest.raises(InputError, match="the decoder must read 6 features, got 5"):
        SoundVQVAE(LogSpectrum(8000, 32, 8), PlainLatent(6), LSTM(51, 7), LSTM(5, 7), 3)

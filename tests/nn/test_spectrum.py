"""Log spectra of waves of any length, and waves with such spectra."""

import math

import pytest
import torch

from saiki.errors import InputError
from saiki.nn.spectrum import PEAK, LogSpectrum


def tone(samples, hertz=1000, rate=8000):
    return torch.sin(2 * math.pi * hertz / rate * torch.arange(samples))


def test_the_bins_of_a_frame_are_those_of_its_fourier_transform_by_hand():
    torch.manual_seed(0)
    wave, spectrum = torch.randn(100, dtype=torch.float64), LogSpectrum(8000, 32, 8).double()
    z, frames = spectrum(wave[None], torch.tensor([100]))
    assert z.shape == (1, 13, 17)
    assert frames.tolist() == [13]
    padded = torch.cat((torch.zeros(16), wave, torch.zeros(16)))
    every = torch.stack([padded[8 * t : 8 * t + 32] for t in range(13)])
    X = torch.fft.rfft(every * torch.hann_window(32, dtype=torch.float64)).abs()
    least = 10 ** (-60 / 20)
    wanted = 1 - 2 * torch.log(X / X.max() + least) / math.log(least)
    assert torch.allclose(z[0], wanted, atol=1e-9)
    assert torch.allclose(spectrum.magnitudes(z[0]), X / X.max(), atol=1e-9)
    assert spectrum.decibels == 30  # from −1 to 1 there are 60


def test_a_row_of_a_batch_is_that_wave_alone_whatever_the_padding_holds():
    torch.manual_seed(0)
    spectrum, lengths = LogSpectrum(8000, 48, 11), torch.tensor([200, 7, 1, 97])
    waves = torch.randn(4, 200)
    together, frames = spectrum(waves, lengths)
    assert frames.tolist() == [19, 1, 1, 9]
    for row, wave in enumerate(waves):
        alone, count = spectrum(wave[None, : lengths[row]], lengths[row : row + 1])
        assert torch.equal(together[row, : frames[row]], alone[0])
        assert count == frames[row]
        assert (together[row, frames[row] :] == -1).all()


@pytest.mark.parametrize("size", [(256, 64), (256, 80), (33, 11), (16, 5), (400, 133)])
def test_a_tone_comes_back(size):
    wave, spectrum = tone(2001), LogSpectrum(8000, *size)
    z, _ = spectrum(wave[None], torch.tensor([2001]))
    back = spectrum.wave(z[0], 2001)
    assert back.shape == (2001,)
    assert back.abs().max() == pytest.approx(PEAK)
    pitches = [torch.fft.rfft(x).abs().argmax().item() * 8000 / 2001 for x in (back, wave)]
    assert pitches[0] == pytest.approx(pitches[1], abs=0.2 * 8000 / size[0])  # of a bin's width
    z_back, _ = spectrum(back[None], torch.tensor([2001]))
    wanted, magnitudes = spectrum.magnitudes(z), spectrum.magnitudes(z_back)
    assert (magnitudes - wanted).square().sum() < 0.02 * wanted.square().sum()
    assert torch.equal(back, spectrum.wave(z[0], 2001))


def test_without_a_length_it_is_as_long_as_so_many_frames_can_be():
    spectrum = LogSpectrum(8000, 48, 11)
    for count in (1, 2, 9):
        wave = spectrum.wave(torch.rand(count, 25))
        assert torch.isfinite(wave).all()
        assert spectrum(wave[None], torch.tensor([len(wave)]))[1] == count
        assert len(wave) // 11 + 1 == count < (len(wave) + 1) // 11 + 1


def test_loudness_does_not_matter_and_silence_stays_silent():
    spectrum, lengths = LogSpectrum(8000), torch.tensor([900])
    wave = tone(900)[None]
    z, _ = spectrum(wave, lengths)
    assert torch.allclose(spectrum(1e-3 * wave, lengths)[0], z, atol=1e-3)
    silent, _ = spectrum(0 * wave, lengths)
    assert torch.allclose(silent, -torch.ones(1), atol=1e-6)
    assert (spectrum.wave(silent[0], 900) == 0).all()


@pytest.mark.parametrize(("window", "hop"), [(256, 86), (8, 2), (256, 0)])
def test_frames_that_do_not_overlap_enough_are_refused(window, hop):
    with pytest.raises(InputError, match=f"hop a third of it at most.*{window} and hop {hop}"):
        LogSpectrum(8000, window, hop)

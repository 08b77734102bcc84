"""Log-mel features against NumPy and loops, and what may not change them."""

import math

import numpy as np
import pytest
import torch

from saiki.errors import InputError
from saiki.nn.mel import LogMel, Samples

RATE = 8_000
SETTINGS = {"floor": -50.0, "shortest": 24, "longest": 72}


def front(**arguments):
    return LogMel(RATE, **{**SETTINGS, **arguments}).double()


def noise(seconds, rate=RATE):
    return torch.randn(round(seconds * rate), dtype=torch.float64)


def sine(hertz, seconds=0.4, rate=RATE):
    return torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * rate)).double() / rate)


def ragged(*waves, more=0, beyond=0.0):
    """Waves side by side and their lengths."""
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.full((len(waves), int(lengths.max()) + more), beyond, dtype=torch.float64)
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = wave
    return padded, lengths


def features(mel, wave):
    """Those of one wave, ``(frames, 2 · bands)``."""
    z, frames = mel(*ragged(wave))
    return z[0, : frames[0]]


def silence(seconds):
    return torch.zeros(round(seconds * RATE), dtype=torch.float64)


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


# The same by hand.


def triangles(rate, bands, size, lowest, highest, warp=1.0):
    """Each bin's share in each band, by the definition."""

    def mel(f):
        return 2595 * math.log10(1 + f / 700)

    ends = [
        700 * (10 ** ((mel(lowest) + (mel(highest) - mel(lowest)) * i / (bands + 1)) / 2595) - 1)
        for i in range(bands + 2)
    ]
    if warp != 1:
        ends = [unwarped(f, warp, rate / 2) for f in ends]
    weights = np.zeros((bands, size // 2 + 1))
    for band in range(bands):
        low, middle, high = ends[band : band + 3]
        for k in range(size // 2 + 1):
            f = k * rate / size
            if low < f <= middle:
                weights[band, k] = (f - low) / (middle - low)
            elif middle < f < high:
                weights[band, k] = (high - f) / (high - middle)
        weights[band] /= weights[band].sum()
    return weights


def unwarped(f, warp, top):
    """The frequency that is heard as ``f``: a line of slope ``warp`` up to a knee, then another."""
    knee = 0.8 * top / max(1, warp)
    xs, ys = [0, knee, top], [0, knee * warp, top]
    return float(np.interp(f, ys, xs))


def by_hand(wave, rate, bands, shortest=24, longest=72, floor=-50.0):
    """All of LogMel for one wave in NumPy, frame by frame."""
    window, hop = round(0.025 * rate), round(0.01 * rate)
    size = 1
    while size < window:
        size *= 2
    edge = round(0.05 * rate)
    x = np.concatenate((np.zeros(edge), wave, np.zeros(edge)))
    x = np.array([x[n] - (0.95 * x[n - 1] if n else 0) for n in range(len(x))])
    hann = np.array([0.5 - 0.5 * math.cos(2 * math.pi * n / window) for n in range(window)])
    middle = np.concatenate((np.zeros(size), x, np.zeros(size)))
    power = []
    for t in range(len(x) // hop + 1):
        start = size + t * hop - window // 2  # the window lies around sample t · hop
        power.append(np.abs(np.fft.rfft(middle[start : start + window] * hann, size)) ** 2)
    power = np.array(power)
    energy = power.sum(1)
    loud = [t for t in range(len(power)) if energy[t] > 1e-4 * energy.max()]
    margin = round(0.1 * rate / hop)
    first, end = max(0, loud[0] - margin), min(len(power), loud[-1] + 1 + margin)
    mel = power @ triangles(rate, bands, size, 60.0, 0.4875 * rate).T
    frames = end - first
    wanted = min(max(frames, shortest), longest)
    places = [first + j * (frames - 1) / (wanted - 1) for j in range(wanted)]
    mel = np.array([np.interp(places, range(len(mel)), band) for band in mel.T]).T
    log = np.log(mel / mel.max() + 10 ** (floor / 10))
    images = [log - log.mean(0), log - log.mean()]
    return np.hstack([image / (image.std() + 0.3) for image in images])


@pytest.mark.parametrize(
    ("rate", "bands", "seconds"),
    [(8_000, 40, 0.5), (8_000, 13, 0.07), (16_000, 26, 1.1), (11_025, 31, 0.333)],
)
def test_the_features_are_those_of_the_same_steps_in_numpy(rate, bands, seconds):
    wave = noise(seconds, rate) * torch.linspace(0.01, 1, round(seconds * rate))
    wave = wave + 3 * sine(rate / 9, seconds, rate)
    ours = features(LogMel(rate, bands, **SETTINGS).double(), wave)
    want = by_hand(wave.numpy(), rate, bands)
    assert ours.shape == want.shape == (ours.shape[0], 2 * bands)
    # window and edges are kept in float32
    np.testing.assert_allclose(ours.numpy(), want, rtol=0, atol=3e-5)


@pytest.mark.parametrize("warp", [0.85, 1.0, 1.2])
def test_the_bands_are_triangles_of_area_1_evenly_on_the_mel_scale(warp):
    mel = front(bands=23)
    bins = torch.eye(mel.bins, dtype=torch.float64)[None]
    ours = mel.mel(bins, torch.tensor([warp], dtype=torch.float64))[0]
    want = triangles(RATE, 23, 256, 60.0, 0.4875 * RATE, warp)
    np.testing.assert_allclose(ours.numpy(), want, rtol=0, atol=3e-6)
    np.testing.assert_allclose(ours.sum(1).numpy(), np.ones(23), atol=1e-5)


def test_the_lowest_and_highest_frequency_can_be_chosen():
    mel = front(bands=9, lowest=300.0, highest=2_000.0)
    bins = torch.eye(mel.bins, dtype=torch.float64)[None]
    ours = mel.mel(bins, torch.ones(1, dtype=torch.float64))[0]
    np.testing.assert_allclose(
        ours.numpy(), triangles(RATE, 9, 256, 300.0, 2_000.0), rtol=0, atol=3e-6
    )
    for pair in ((-1.0, 2_000.0), (300.0, 300.0), (0.0, 4_001.0)):
        with pytest.raises(InputError, match=r"^bands must lie from 0 to 4000 Hz, got "):
            front(lowest=pair[0], highest=pair[1])


# What may not change them.


def test_loudness_changes_nothing():
    mel, wave = front(), noise(0.4)
    for factor in (100.0, 1e-4, -1.0):
        close(features(mel, factor * wave), features(mel, wave))


def test_the_colour_of_the_microphone_is_only_in_the_second_image():
    # a steady filter multiplies the power of each band; here the bands are single sines
    mel = front(floor=-200.0)
    power = torch.rand(1, 40, 60, dtype=torch.float64) + 0.1
    gain = torch.rand(40, 1, dtype=torch.float64) + 0.5
    gain[power.amax((0, 2)).argmax()] = 1.0
    floor, frames = torch.tensor([-200.0], dtype=torch.float64), torch.tensor([60])
    plain, coloured = (mel.normalise(p, frames, floor)[0] for p in (power, power * gain))
    close(plain[:, :40], coloured[:, :40])
    assert (plain[:, 40:] - coloured[:, 40:]).abs().max() > 0.1


def test_both_images_have_no_mean_and_a_deviation_near_1():
    z = features(front(), noise(0.4))
    close(z[:, :40].mean(0), torch.zeros(40, dtype=torch.float64))
    assert abs(z[:, 40:].mean()) < 1e-9
    assert z[:, 40:].mean(0).abs().max() > 0.05  # the second keeps the mean of each band
    for image in z.split(40, 1):
        assert 0.5 < image.std() < 1


def test_a_row_alone_is_the_row_in_a_padded_batch():
    mel = front()
    waves = [noise(s) for s in (0.4, 0.03, 1.3, 0.0123, 1 / RATE, 0.2001)]
    z, frames = mel(*ragged(*waves, more=777, beyond=9.0))  # what lies beyond is not read
    for i, wave in enumerate(waves):
        alone = features(mel, wave)
        assert len(alone) == frames[i]
        close(z[i, : frames[i]], alone)
        assert z[i, frames[i] :].abs().sum() == 0


def test_there_is_no_power_beyond_the_frames_of_a_row():
    mel = front()
    waves = [noise(s) for s in (0.5, 0.1001, 0.1099, 0.02)]
    power, frames = mel.power(*ragged(*waves, more=1))  # the last window reaches beyond its row
    assert frames.tolist() == [51, 11, 11, 3]
    for i, wave in enumerate(waves):
        alone, (count,) = mel.power(*ragged(wave, more=1))  # and its last sample by one
        close(power[i, :, :count], alone[0, :, :count])
        assert power[i, :, count - 1].max() > 0
        assert power[i, :, count:].abs().sum() == 0


def test_silence_beyond_the_margin_changes_nothing():
    mel, wave = front(), noise(0.3)
    usual = features(mel, torch.cat((silence(0.2), wave, silence(0.2))))
    for before, after in ((0.9, 0.2), (0.2, 1.4), (0.5, 0.33)):
        close(features(mel, torch.cat((silence(before), wave, silence(after)))), usual)


def test_where_the_frames_begin_changes_little():
    mel = front()
    wave = sine(700, 0.3) + sine(1_900, 0.3) * torch.linspace(0, 1, 2_400)
    wave = wave * torch.hann_window(2_400, dtype=torch.float64)
    usual = features(mel, torch.cat((silence(0.2), wave, silence(0.2))))
    later = features(mel, torch.cat((silence(0.2 + 0.005), wave, silence(0.2))))
    assert 0 < (later - usual).abs().mean() < 0.1
    assert np.corrcoef(later.flatten(), usual.flatten())[0, 1] > 0.98


def test_faint_noise_around_the_sound_is_silence_and_the_margin_is_kept():
    mel, tone = front(), sine(1_000, 0.2)
    tones = torch.cat((1e-3 * noise(0.5), tone, 1e-3 * noise(0.5)))
    power, frames = mel.power(*ragged(tones))
    first, count = mel.trimmed(power, frames)
    # 0.5 s to 0.7 s, a window of 25 ms around it, and 10 frames of margin
    assert abs(first.item() - (50 - 10)) <= 2
    assert abs(first.item() + count.item() - (70 + 10)) <= 2
    # at −30 dB it would count as sound
    louder = torch.cat((0.2 * noise(0.5), tone, 0.2 * noise(0.5)))
    first, count = mel.trimmed(*mel.power(*ragged(louder)))
    assert (first.item(), count.item()) == (0, 121)


# Time and frequency.


@pytest.mark.parametrize(
    ("seconds", "frames"), [(0.01, 24), (0.1, 24), (0.3, 41), (0.55, 66), (0.61, 72), (3.0, 72)]
)
def test_time_is_stretched_to_the_shortest_and_the_longest(seconds, frames):
    assert len(features(front(), noise(seconds))) == frames
    assert len(features(front(shortest=5, longest=400), noise(0.3))) == 41


def test_a_stretched_sound_is_interpolated_between_its_frames():
    mel = front(bands=5, shortest=24, longest=30)
    frames_before = torch.rand(3, 5, 50, dtype=torch.float64)
    first, frames = torch.tensor([4, 0, 7]), torch.tensor([11, 40, 25])
    tempo = torch.tensor([1.0, 1.0, 0.99], dtype=torch.float64)
    ours, wanted = mel.stretch(frames_before, first, frames, tempo)
    assert wanted.tolist() == [24, 30, 25]
    for i in range(3):
        count = wanted[i].item()
        places = first[i].item() + np.linspace(0, frames[i].item() - 1, count)
        for band in range(5):
            want = np.interp(places, range(50), frames_before[i, band].numpy())
            np.testing.assert_allclose(ours[i, band, :count].numpy(), want, rtol=1e-6)


def test_a_warp_of_1_is_the_identity():
    mel, power = front(), torch.rand(2, 129, 9, dtype=torch.float64)
    one = torch.ones(2, dtype=torch.float64)
    want = triangles(RATE, 40, 256, 60.0, 0.4875 * RATE) @ power.numpy()
    np.testing.assert_allclose(mel.mel(power, one).numpy(), want, rtol=2e-5, atol=0)


@pytest.mark.parametrize("warp", [0.8, 0.9, 1.1, 1.25])
@pytest.mark.parametrize("hertz", [500, 1_200, 2_100])
def test_a_warp_moves_a_sine_to_the_band_of_another_frequency(warp, hertz):
    mel = front()

    def peak(hertz, warp):
        power, _ = mel.power(*ragged(sine(hertz)))
        return mel.mel(power, torch.tensor([warp], dtype=torch.float64))[0].sum(1).argmax().item()

    assert abs(peak(hertz, warp) - peak(hertz * warp, 1.0)) <= 1
    assert abs(peak(hertz, warp) - peak(hertz, 1.0)) >= 1


def test_each_row_has_its_own_warp():
    mel, power = front(), torch.rand(3, 129, 9, dtype=torch.float64)
    warp = torch.tensor([0.85, 1.0, 1.2], dtype=torch.float64)
    together = mel.mel(power, warp)
    for i in range(3):
        close(mel.mel(power[i : i + 1], warp[i : i + 1])[0], together[i])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_odd_waves_give_finite_numbers(dtype):
    mel = front().to(dtype)
    odd = [silence(0.3), torch.ones(1), torch.zeros(1), noise(60), 1e-30 * noise(0.3)]
    odd += [torch.ones(4_000), 1e15 * noise(0.1), silence(100)]
    for waves in (odd, *([wave] for wave in odd)):
        padded, lengths = ragged(*waves)
        z, frames = mel(padded.to(dtype), lengths)
        assert z.dtype == dtype
        assert z.isfinite().all()
        assert z.abs().max() < 100
        assert frames.min() >= 24
        assert frames.max() <= 72


def test_samples_are_cut_and_filled():
    waves, lengths = ragged(torch.arange(1.0, 4), torch.arange(1.0, 8), torch.ones(1), beyond=9.0)
    z, steps = Samples(5)(waves, lengths)
    assert steps is None
    assert z.shape == (3, 5, 1)
    assert z[..., 0].tolist() == [[1, 2, 3, 0, 0], [1, 2, 3, 4, 5], [1, 0, 0, 0, 0]]
    z, _ = Samples(9)(waves, lengths)
    assert z[1, :, 0].tolist() == [1, 2, 3, 4, 5, 6, 7, 0, 0]

"""Changes of sound, each one alone: measured on what comes out and held to what it says."""

import math

import numpy as np
import pytest
import torch

from saiki.data.sound.augment import LONGEST_MASKS, NONE, Augmentation, Augmenter
from saiki.errors import InputError
from saiki.nn.mel import LogMel

pytestmark = pytest.mark.one_in(3)

RATE = 8_000
LOUDEST, FAINTEST = 12, 45
"""dB of noise below the sound."""
CUT = 15
"""Of the longest silence, this part is cut off at most."""
NAMES = list(Augmentation.knobs())


class Open(LogMel):
    """Shows what passes through it: the wave, its power, and what becomes of the power."""

    def power(self, waves, lengths):
        self.waves, self.lengths = waves, lengths
        self.before = super().power(waves, lengths)[0]
        return self.before, lengths // self.hop + 1

    def mel(self, power, warp):
        self.after, self.warp = power, warp
        return super().mel(power, warp)

    def stretch(self, mel, first, frames, tempo):
        self.tempo = tempo
        return super().stretch(mel, first, frames, tempo)


def only(**changes):
    return Augmentation(**{**NONE.to_dict(), **changes})


def noise(seconds):
    return torch.randn(round(seconds * RATE), dtype=torch.float64)


def sine(hertz, seconds):
    return torch.sin(2 * math.pi * hertz * torch.arange(round(seconds * RATE)).double() / RATE)


def ragged(*waves, more=0):
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = torch.zeros(len(waves), int(lengths.max()) + more, dtype=torch.float64)
    for row, wave in zip(padded, waves, strict=True):
        row[: len(wave)] = wave
    return padded, lengths


def keys(count):
    return [(7, n) for n in range(count)]


def changed(wave, count, **changes):
    """The open front after ``count`` draws of changes to one wave, its features and frames."""
    mel = Open(RATE).double()
    waves, lengths = ragged(*[wave] * count)
    return mel, *Augmenter(mel, only(**changes))(waves, lengths, keys(count))


def ratios(mel):
    """What each bin was multiplied by, in dB, ``(batch, bins)``; the same in all frames."""
    known = mel.before > 1e-12 * mel.before.amax((1, 2), keepdim=True)
    decibels = torch.where(known, 10 * torch.log10(mel.after / mel.before), 0)
    means = decibels.sum(2) / known.sum(2)
    assert torch.where(known, decibels - means[..., None], 0).abs().max() < 1e-9
    return means


def close(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


# What the numbers depend on.


@pytest.mark.parametrize(
    "settings",
    [
        Augmentation(),
        Augmentation(room=1.0, noise=1.0, masks=0),
        Augmentation(shift=0.0, speed=1.0),
    ],
)
def test_the_same_keys_give_the_same_whatever_else_is_in_the_batch(settings):
    augmenter = Augmenter(LogMel(RATE).double(), settings)
    waves = [noise(s) for s in (0.4, 0.08, 1.5, 0.3, 0.21, 0.55, 0.0301, 0.7)]
    names = [(3, 0, n) for n in range(8)]
    z, frames = augmenter(*ragged(*waves), names)
    wide, steps = augmenter(*ragged(*waves[::-1], noise(3), more=1_234), [*names[::-1], (9,)])
    assert steps[:8].flip(0).tolist() == frames.tolist()
    close(wide[:8].flip(0), z)
    for i, wave in enumerate(waves):
        for more in (0, 1, 79, 4_000):
            alone, steps = augmenter(*ragged(wave, more=more), names[i : i + 1])
            assert steps.item() == frames[i]
            close(alone[0], z[i])


def test_other_keys_give_others():
    augmenter = Augmenter(LogMel(RATE).double(), Augmentation())
    waves, lengths = ragged(*[noise(0.4)] * 6)
    z, _ = augmenter(waves, lengths, [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (5,), (0, 0, 0)])
    for i in range(6):
        for j in range(i):
            assert ((z[i] - z[j]).abs().max() > 0.1) == ((i, j) != (5, 0))


def test_random_numbers_elsewhere_are_neither_used_nor_changed():
    augmenter = Augmenter(LogMel(RATE).double(), Augmentation())
    waves, lengths = ragged(noise(0.4))
    state = torch.get_rng_state()
    first, _ = augmenter(waves, lengths, [(1,)])
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    np.random.seed(0)
    assert torch.equal(augmenter(waves, lengths, [(1,)])[0], first)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050])
def test_without_any_change_the_features_are_those_of_the_front(rate):
    mel = LogMel(rate).double()
    waves, lengths = ragged(noise(0.4), noise(0.01), noise(2.5), torch.zeros(500), torch.ones(1))
    z, frames = Augmenter(mel, NONE)(waves, lengths, keys(5))
    want, steps = mel(waves, lengths)
    assert frames.tolist() == steps.tolist()
    close(z, want)


def test_float32_gives_nearly_the_same():
    waves, lengths = ragged(noise(0.4), noise(0.7))
    settings = Augmentation(masks=0)
    z, frames = Augmenter(LogMel(RATE).double(), settings)(waves, lengths, keys(2))
    small, steps = Augmenter(LogMel(RATE), settings)(waves.float(), lengths, keys(2))
    assert small.dtype == torch.float32
    assert steps.tolist() == frames.tolist()
    assert (small.double() - z).abs().mean() < 1e-3


# Each change alone.


def test_speed_changes_frequency_and_length_together():
    mel, _, _ = changed(sine(600, 1.0), 90, speed=0.25)
    speeds = []
    for wave, length in zip(mel.waves, mel.lengths.tolist(), strict=True):
        inside = wave[400 : length - 400]  # without the silence around it
        spectrum = torch.fft.rfft(inside * torch.hann_window(len(inside)), 2**17).abs()
        speed = spectrum.argmax().item() / 2**17 * RATE / 600
        assert len(inside) == pytest.approx(RATE / speed, rel=1e-3)
        assert inside[: RATE // 600].abs().max() > 0.9
        speeds.append(speed)
    logs = np.log(speeds) / np.log(1.25)
    assert -1.001 < logs.min() < -0.75
    assert 0.75 < logs.max() < 1.001
    assert abs(logs.mean()) < 4 / np.sqrt(3 * 90)  # evenly in the logarithm


@pytest.mark.parametrize(("knob", "reach"), [("vocal_tract", 0.18), ("tempo", 0.3)])
def test_factors_lie_evenly_from_one_part_to_as_many_times(knob, reach):
    mel, _, _ = changed(noise(0.05), 300, **{knob: reach})
    name, other = ("warp", "tempo") if knob == "vocal_tract" else ("tempo", "warp")
    logs = torch.log(getattr(mel, name)) / math.log(1 + reach)
    assert logs.abs().max() <= 1 + 1e-9
    assert abs(logs.mean()) < 4 / math.sqrt(3 * 300)
    assert logs.std().item() == pytest.approx(1 / math.sqrt(3), rel=0.15)
    assert getattr(mel, other).tolist() == [1.0] * 300


def test_the_vocal_tract_moves_the_formants_and_not_the_length():
    wave = sine(1_200, 0.4)
    mel, z, frames = changed(wave, 40, vocal_tract=0.18)
    plain = LogMel(RATE).double()
    assert set(frames.tolist()) == {plain(*ragged(wave))[1].item()}
    bands = z[:, :, 40:].mean(1).argmax(1)
    for band, warp in zip(bands.tolist(), mel.warp.tolist(), strict=True):
        want = plain(*ragged(sine(1_200 * warp, 0.4)))[0][0, :, 40:].mean(0).argmax().item()
        assert abs(band - want) <= 1
    assert len(set(bands.tolist())) > 3


def test_tempo_changes_the_length_and_not_the_frequency():
    wave = sine(1_200, 0.3)
    mel, z, frames = changed(wave, 40, tempo=0.3)
    plain, steps = LogMel(RATE).double()(*ragged(wave))
    assert frames.tolist() == (steps * mel.tempo).round().long().tolist()
    assert frames.min() < 0.85 * steps < 1.15 * steps < frames.max()
    peak = plain[0, :, 40:].mean(0).argmax().item()
    assert set(z[:, :, 40:].mean(1).argmax(1).tolist()) == {peak}


def test_noise_is_so_many_db_below_the_sound_and_the_same_over_time():
    mel, _, _ = changed(noise(0.6), 300, noise=0.7)
    added = mel.after - mel.before
    levels = []
    for before, more in zip(mel.before, added, strict=True):
        if more.abs().max() > 0:
            assert more.min() >= 0
            levels.append(10 * math.log10(before.sum() / more.sum()))
            first, second = (half.sum().item() for half in more.chunk(2, 1))
            assert 0.6 < first / second < 1.6
    assert pytest.approx(len(levels), abs=4 * math.sqrt(300 * 0.7 * 0.3)) == 0.7 * 300
    # what is measured in some 60 frames is off by some tenths of a dB
    assert LOUDEST - 0.7 < min(levels) < LOUDEST + 3
    assert FAINTEST - 3 < max(levels) < FAINTEST + 0.7
    deviation = (FAINTEST - LOUDEST) / math.sqrt(12)
    middle = (LOUDEST + FAINTEST) / 2
    assert np.mean(levels) == pytest.approx(middle, abs=4 * deviation / math.sqrt(len(levels)))


def test_noise_is_coloured_and_fluctuates_as_noise_does():
    mel, _, _ = changed(noise(1.5), 40, noise=1.0)
    added = mel.after - mel.before
    # the power of noise in a cell is exponentially distributed: its deviation is its mean
    shares = (added.std(2) / added.mean(2)).mean(1)
    assert shares.min() > 0.85
    assert shares.max() < 1.15
    low, high = added[:, :64].sum((1, 2)), added[:, 64:].sum((1, 2))
    assert (low > high).sum() > 28  # falling with frequency as a rule
    assert len({round(math.log(r), 3) for r in (low / high).tolist()}) > 35


def test_the_floor_of_the_logarithm_moves_with_noise_only():
    # a sound with a silence in it shows the floor
    wave = torch.cat((noise(0.1), torch.zeros(2_400), noise(0.1)))
    z = {}
    for share in (0.0, 1e-9):  # noise hardly ever happens, and still the floor moves
        _, z[share], _ = changed(wave, 20, noise=share)
    assert (z[0.0] - z[0.0][0]).abs().max() < 1e-12
    assert (z[1e-9] - z[1e-9][0]).abs().amax((1, 2))[1:].min() > 1e-3


def test_the_equaliser_is_a_smooth_curve_of_its_deviation_in_7_of_10():
    mel, _, _ = changed(noise(0.2), 400, equaliser=8.0)
    curves = ratios(mel)
    flat = curves.abs().amax(1) < 1e-9
    assert flat.sum().item() == pytest.approx(120, abs=4 * math.sqrt(400 * 0.3 * 0.7))
    filters = curves[~flat]
    for end in (filters[:, 0], filters[:, -1]):  # there it is one normal number and not a mixture
        assert end.std().item() == pytest.approx(8, rel=4 / math.sqrt(2 * len(end)))
        assert abs(end.mean().item()) < 4 * 8 / math.sqrt(len(end))
    assert abs(np.corrcoef(filters[:, 0], filters[:, -1])[0, 1]) < 0.3
    # straight but for the 6 points between the ends, each of which bends two steps
    bends = (filters.diff(n=2, dim=1).abs() > 1e-6).sum(1)
    assert 6 <= bends.max() <= 12
    doubled = ratios(changed(noise(0.2), 400, equaliser=16.0)[0])
    close(doubled, 2 * curves, 1e-6)


def test_a_muffled_sound_loses_its_highest_frequencies_only():
    curves = ratios(changed(noise(0.2), 300, muffle=0.5)[0])
    flat = curves.abs().amax(1) < 1e-9
    assert flat.sum().item() == pytest.approx(150, abs=4 * math.sqrt(300 / 4))
    filters = curves[~flat]
    assert filters.diff(dim=1).max() < 1e-6  # it only falls
    edges = (filters < -1e-9).double().argmax(1) / 128
    assert 0.45 <= edges.min() < 0.5
    assert 0.9 < edges.max() <= 0.96
    assert filters.min() >= -40 - 1e-6
    assert (filters[:, -1] < -4).all()


def test_a_room_keeps_the_energy_and_spreads_it_into_the_next_frames():
    click = torch.cat((torch.zeros(2_000), noise(0.005), torch.zeros(2_000)))
    mel, _, _ = changed(click, 200, room=0.5)
    close(mel.after.sum(2) / mel.before.sum(2), torch.ones(200, 129, dtype=torch.float64))
    dry = (mel.after - mel.before).abs().amax((1, 2)) < 1e-12
    assert dry.sum().item() == pytest.approx(100, abs=4 * math.sqrt(200 / 4))
    first = int((mel.before[0].sum(0) > 0).double().argmax())
    before, after = (power[~dry].sum(1) for power in (mel.before, mel.after))
    assert after[:, :first].abs().max() < 1e-12  # nothing sounds before it begins
    wet = 1 - after[:, first] / before[:, first]
    assert 0.05 <= wet.min() < 0.12
    assert 0.43 < wet.max() <= 0.5
    last = int(before[0].nonzero().max())
    tails = after[:, last + 1 :]
    assert (tails[:, :8] > 0).all()
    assert (tails[:, :10].diff(dim=1) < 0).all()  # and decays
    assert tails[:, 12:].abs().max() < 1e-12


def test_shift_puts_silence_around_and_cuts_a_part_of_it():
    ramp = torch.arange(1.0, 4_001).double()
    mel, _, _ = changed(ramp, 200, shift=0.12)
    silences, cuts = [], []
    for wave, length in zip(mel.waves, mel.lengths.tolist(), strict=True):
        at = wave.nonzero()[:, 0]
        uncut = wave[at[0] : at[-1] + 1]
        assert torch.equal(uncut, torch.arange(uncut[0], uncut[-1] + 1))  # whole and as it was
        silences += [at[0].item() / RATE, (length - 1 - at[-1].item()) / RATE]
        cuts += [(uncut[0].item() - 1) / RATE, (4_000 - uncut[-1].item()) / RATE]
    assert min(silences) >= 0
    assert 0.11 < max(silences) <= 0.12
    assert np.mean(silences) == pytest.approx(0.04, rel=0.15)  # of a square from 0 to 0.12
    assert min(cuts) >= 0
    assert 0.9 * 0.12 / CUT < max(cuts) <= 0.12 / CUT
    assert np.mean(cuts) == pytest.approx(0.06 / CUT, abs=0.1 * 0.12 / CUT)


@pytest.mark.parametrize("masks", [1, 2])
def test_masks_hide_bars_of_the_stated_size_and_nothing_else(masks):
    wave = noise(0.45)
    _, plain, steps = changed(wave, 150)
    _, z, frames = changed(wave, 150, masks=masks)
    assert frames.tolist() == steps.tolist()
    hidden = (z == 0) & (plain != 0)
    assert torch.equal(z[~hidden], plain[~hidden])
    times, bands = hidden.all(2), hidden[:, : int(frames[0]), :40].all(1)
    assert torch.equal(hidden[..., :40], hidden[..., 40:])  # in both images alike
    for row in range(150):
        want = times[row, :, None] | bands[row].repeat(2)
        assert torch.equal(hidden[row, : frames[row]], want[: frames[row]])
    longest = min(LONGEST_MASKS[0], math.ceil(0.2 * int(frames[0])))
    for bars, limit in ((times, longest), (bands, LONGEST_MASKS[1])):
        sizes = bars.sum(1)
        assert limit - 2 <= sizes.max() <= masks * limit
        edges = (bars.int().diff(dim=1) > 0).sum(1) + bars[:, 0].int()
        assert edges.max() == masks  # so many bars, each in one piece
        if masks == 1:
            assert sizes.max() <= limit
            assert sizes.double().mean().item() == pytest.approx(limit / 2, rel=0.25)
        starts = bars.int().argmax(1)
        assert len(set(starts.tolist())) > 12
    _, short, (count, *_) = changed(noise(0.01), 60, masks=1)  # of a few frames a fifth
    lost = (short.abs().sum(2) == 0)[:, :count].sum(1)
    assert count < 30
    assert lost.max() <= math.ceil(0.2 * count)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_2000_draws_with_everything_on_are_all_numbers(dtype):
    settings = Augmentation(
        speed=1.0, vocal_tract=1.0, tempo=1.0, noise=0.9, equaliser=40.0, room=0.9, muffle=0.9,
        shift=1.0, masks=4,
    )  # fmt: skip
    augmenter = Augmenter(LogMel(RATE).to(dtype), settings)
    odd = [noise(0.3), torch.zeros(900), torch.ones(1), torch.ones(3_000), 1e-9 * noise(0.02)]
    waves, lengths = ragged(*odd, sine(440, 0.5), noise(1.0), noise(0.11), 1e4 * noise(0.2))
    for at in range(0, 1_998, 9):
        z, frames = augmenter(waves.to(dtype), lengths, [(at + i,) for i in range(9)])
        assert z.isfinite().all()
        assert z.abs().max() < 100
        assert frames.min() >= augmenter.mel.shortest
        assert frames.max() <= augmenter.mel.longest


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [-0.1, -1, math.nan, math.inf])
def test_what_is_negative_or_no_number_is_refused(name, value):
    with pytest.raises(InputError) as caught:
        only(**{name: value})
    allowed = Augmentation.knob(name).allowed
    sentence, _, got = str(caught.value).partition(", got ")
    assert sentence == f"{name} must be {allowed}"
    assert str(float(got)) == str(float(value))


def test_none_switches_everything_off():
    assert [getattr(NONE, name) for name in NAMES] == [0] * len(NAMES)
    assert (NONE.on, only(noise=0.5).on) == ([], ["noise"])

"""Sound files against sines in closed form, and every way a file can be unusable."""

import os
import sys
import threading
import types

import numpy as np
import pytest
import soundfile

from saiki.data.sound import formats
from saiki.data.sound.files import read, record, resample, save
from saiki.data.stderr import hushed
from saiki.errors import InputError, SaikiError

FORMATS = [
    ("wav", "PCM_U8", 0.02),
    ("wav", "PCM_16", 1e-3),
    ("wav", "PCM_24", 1e-3),
    ("wav", "PCM_32", 1e-3),
    ("wav", "FLOAT", 1e-3),
    ("wav", "DOUBLE", 1e-3),
    ("wav", "ULAW", 0.03),
    ("flac", "PCM_16", 1e-3),
    ("aiff", "PCM_16", 1e-3),
    ("ogg", "VORBIS", 0.05),
    ("mp3", "MPEG_LAYER_III", 0.1),
]


def sine(hertz, rate, seconds=1.0, size=0.5):
    return size * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def inside(wave, rate, seconds=0.1):
    """Without the edges, where a filter sees the silence around the sound."""
    return wave[round(seconds * rate) : -round(seconds * rate)]


def strength(wave, hertz, rate):
    """The size of the sine of ``hertz`` in ``wave``, by projection."""
    turn = np.exp(-2j * np.pi * hertz * np.arange(len(wave)) / rate)
    return 2 * abs(np.mean(wave * turn))


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize(("suffix", "subtype", "tolerance"), FORMATS)
def test_a_sine_comes_back_at_8_khz_from_every_format_and_rate(
    tmp_path, suffix, subtype, tolerance, rate
):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sine(440, rate), rate, subtype=subtype)
    wave = read(path, 8_000)
    assert wave.dtype == np.float32
    assert wave.shape == (8_000,)
    assert np.abs(inside(wave - sine(440, 8_000), 8_000)).max() < tolerance


def test_opus_comes_back_too(tmp_path):
    soundfile.write(tmp_path / "a.opus", sine(440, 48_000), 48_000, format="OGG", subtype="OPUS")
    assert strength(inside(read(tmp_path / "a.opus", 8_000), 8_000), 440, 8_000) == pytest.approx(
        0.5, abs=0.02
    )


def test_what_8_khz_cannot_hold_is_gone_and_not_folded_down(tmp_path):
    both = sine(440, 44_100) + sine(5_000, 44_100, size=0.4)
    soundfile.write(tmp_path / "a.wav", both, 44_100, subtype="FLOAT")
    wave = inside(read(tmp_path / "a.wav", 8_000), 8_000)
    assert strength(wave, 440, 8_000) == pytest.approx(0.5, abs=1e-3)
    assert strength(wave, 3_000, 8_000) < 1e-4  # where 5 kHz would fold to


def test_a_sound_of_which_nothing_is_left_at_the_rate_is_silent(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(6_000, 44_100) * np.hanning(44_100), 44_100)
    assert strength(read(tmp_path / "a.wav", 16_000), 6_000, 16_000) > 0.2
    with pytest.raises(InputError, match=r"a\.wav is silent at 8000 Hz$"):
        read(tmp_path / "a.wav", 8_000)


def test_a_sound_is_read_alike_in_any_number_of_blocks(tmp_path, monkeypatch):
    for suffix in ("wav", "flac", "ogg", "mp3"):
        path = tmp_path / f"a.{suffix}"
        soundfile.write(path, sine(440, 44_100, 2.0), 44_100)
        whole = soundfile.read(path, dtype="float32")[0]
        at_once = resample(whole, 44_100, 8_000)
        monkeypatch.setattr("saiki.data.sound.files._BLOCK", 5_000)
        assert np.array_equal(read(path, 44_100), whole)
        assert np.array_equal(read(path, 8_000), at_once)


def test_the_mean_of_all_channels_is_heard(tmp_path):
    channels = [sine(300, 16_000, size=s) for s in (0.1, 0.3, 0.8)]
    soundfile.write(tmp_path / "a.wav", np.stack(channels, 1), 16_000, subtype="FLOAT")
    assert np.abs(read(tmp_path / "a.wav", 16_000) - sine(300, 16_000, size=0.4)).max() < 1e-6


def test_a_stream_that_does_not_say_its_length_is_read_to_its_end(tmp_path):
    soundfile.write(tmp_path / "a.flac", sine(440, 8_000), 8_000)
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[21] &= 0xF0  # 36 bits of STREAMINFO hold the number of samples; 0 is "unknown"
    data[22:26] = bytes(4)
    (tmp_path / "b.flac").write_bytes(data)
    assert np.array_equal(read(tmp_path / "b.flac", 8_000), read(tmp_path / "a.flac", 8_000))


@pytest.fixture
def make(tmp_path):
    """Files that cannot be used, by name."""

    def raw(data):
        (tmp_path / "a.wav").write_bytes(data)

    def wave(samples, rate=8_000, **options):
        soundfile.write(tmp_path / "a.wav", np.asarray(samples), rate, **options)

    def patched(position, data):
        wave(sine(440, 8_000))
        whole = bytearray((tmp_path / "a.wav").read_bytes())
        whole[position : position + len(data)] = data
        raw(bytes(whole))

    def cut_flac():
        soundfile.write(tmp_path / "a.flac", sine(440, 8_000), 8_000)
        raw((tmp_path / "a.flac").read_bytes()[:3_000])

    def cut_mp3():
        soundfile.write(tmp_path / "a.mp3", sine(440, 8_000, 4), 8_000)
        whole = (tmp_path / "a.mp3").read_bytes()
        raw(whole[: len(whole) // 2])

    return {
        "nothing": lambda: None,
        "a folder": lambda: (tmp_path / "a.wav").mkdir(),
        "text": lambda: raw(b"this is no sound, but a text of some length\n" * 20),
        "no bytes": lambda: raw(b""),
        "a header alone": lambda: wave([]),
        "half a header": lambda: raw(b"RIFF\x00\x00\x00\x00WAVEfmt \x10\x00"),
        "zeros": lambda: wave(np.zeros(800)),
        "a constant": lambda: wave(np.full(800, 0.3)),
        "-90 dB": lambda: wave(sine(440, 8_000, size=10 ** (-90 / 20)), subtype="FLOAT"),
        "opposite channels": lambda: wave(
            np.stack([sine(440, 8_000), -sine(440, 8_000)], 1), subtype="FLOAT"
        ),
        "nan": lambda: wave([0.1, np.nan, 0.2, 0.4], subtype="FLOAT"),
        "inf": lambda: wave([[0.1, 0.2], [np.inf, -np.inf]], subtype="FLOAT"),
        "25 min": lambda: wave(np.tile(np.float32([0.5, -0.5]), 750_000), 1_000, subtype="PCM_U8"),
        "a rate of 1 Hz": lambda: patched(24, (1).to_bytes(4, "little")),
        "a rate of 2 GHz": lambda: patched(24, (2_000_000_000).to_bytes(4, "little")),
        "no channels": lambda: patched(22, bytes(2)),
        "half a FLAC": cut_flac,
        "half an MP3": cut_mp3,
    }


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("nothing", "does not exist"),
        ("a folder", "cannot be read: it is a folder"),
        ("text", "cannot be read as sound: Format not recognised"),
        ("no bytes", "cannot be read as sound: "),
        ("half a header", "cannot be read as sound: "),
        ("no channels", "cannot be read as sound: "),
        ("half a FLAC", "cannot be read as sound: flac decoder lost sync"),
        ("half an MP3", r"is cut short: 1\.\d+ s are there of 4\.?\d* s"),
        ("a header alone", "is empty: it holds no samples"),
        ("zeros", "is silent"),
        ("a constant", "is silent"),
        ("-90 dB", "is silent"),
        ("opposite channels", "is silent"),
        ("nan", "holds samples that are no finite numbers"),
        ("inf", "holds samples that are no finite numbers"),
        ("25 min", r"is longer than 600 s: it lasts 1500 s"),
        ("a rate of 1 Hz", "has a sampling rate of 1 Hz, and 1000 to 768000 Hz can be read"),
        ("a rate of 2 GHz", "has a sampling rate of 2000000000 Hz"),
    ],
)
@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_what_cannot_be_used_is_told_in_a_sentence(tmp_path, make, what, reason, rate, capfd):
    make[what]()
    with pytest.raises(InputError, match=rf"^{tmp_path}/a\.wav {reason}") as caught:
        read(tmp_path / "a.wav", rate)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


CONTAINERS = ["WAV", "RF64", "W64", "AIFF", "AU"]


def contained(path, kind, endian="FILE", subtype="PCM_16"):
    """The bytes of a sound of 2 s in two channels, and the sound."""
    wave = np.stack([sine(440, 8_000, 2), sine(330, 8_000, 2)], 1)
    soundfile.write(path, wave, 8_000, subtype, endian, kind)
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.85])
@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_file_that_lacks_its_end_is_told_and_not_heard_as_if_whole(tmp_path, kind, share):
    path = tmp_path / "a.wav"
    whole = contained(path, kind)
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"is cut short: [01][.\d]* s are there of 2 s$"):
        read(path, 8_000)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_24", "FLOAT", "DOUBLE", "ULAW"])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
def test_a_wave_of_any_kind_is_read_whole_and_refused_in_part(tmp_path, endian, subtype):
    path = tmp_path / "a.wav"
    whole = contained(path, "WAV", endian, subtype)
    assert len(read(path, 8_000)) == 16_000
    path.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(InputError, match="is cut short"):
        read(path, 8_000)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_whole_file_is_read_also_with_something_behind_it(tmp_path, kind):
    path = tmp_path / "a.wav"
    whole = contained(path, kind)
    assert len(read(path, 8_000)) == 16_000
    path.write_bytes(whole + b"more that is no sound")
    assert len(read(path, 8_000)) >= 16_000


@pytest.mark.parametrize("length", [0xFFFF_FFFF, 0x7FFF_F000])
def test_a_length_that_was_not_known_when_it_was_written_is_no_promise(tmp_path, length):
    path = tmp_path / "a.wav"
    whole = bytearray(contained(path, "WAV"))
    at = whole.index(b"data") + 4
    whole[at : at + 4] = whole[4:8] = length.to_bytes(4, "little")
    path.write_bytes(whole)
    assert len(read(path, 8_000)) == 16_000


def test_a_sound_shorter_than_a_sample_of_the_rate_is_told(tmp_path):
    soundfile.write(tmp_path / "a.wav", [0.5, -0.5], 44_100)
    with pytest.raises(InputError, match=r"is shorter than one sample at 8000 Hz$"):
        read(tmp_path / "a.wav", 8_000)


def test_a_file_that_claims_the_suffix_raw_is_no_sound(tmp_path):
    (tmp_path / "a.raw").write_bytes(bytes(100))
    with pytest.raises(InputError, match="cannot be read as sound: "):
        read(tmp_path / "a.raw", 8_000)


def test_a_name_that_is_no_text_is_read_and_shown(tmp_path):
    soundfile.write(tmp_path / "a.wav", sine(440, 8_000), 8_000)
    odd = (tmp_path / "a.wav").rename(tmp_path / "\udce4.wav")
    assert len(read(odd, 8_000)) == 8_000
    odd.write_bytes(b"")
    with pytest.raises(InputError) as caught:
        read(odd, 8_000)
    str(caught.value).encode("utf-8")


@pytest.mark.parametrize("rate", [0, -8_000, 999, 768_001])
def test_a_rate_out_of_range_is_refused(tmp_path, rate):
    with pytest.raises(InputError, match=f"between 1000 and 768000 Hz, got {rate}$"):
        read(tmp_path / "a.wav", rate)


def test_a_saved_wave_comes_back_to_the_nearest_of_65536_steps(tmp_path):
    wave = np.random.default_rng(0).uniform(-1, 1, 1_001).astype(np.float32)
    save(tmp_path / "new" / "a.wav", wave, 8_000)
    back = read(tmp_path / "new" / "a.wav", 8_000)
    assert np.abs(back - np.minimum(wave, 32767 / 32768)).max() <= 0.5 / 32768
    save(tmp_path / "b.wav", back, 8_000)
    assert np.array_equal(read(tmp_path / "b.wav", 8_000), back)
    assert soundfile.info(tmp_path / "b.wav").subtype == "PCM_16"


def test_too_loud_a_wave_is_clipped_and_does_not_wrap(tmp_path):
    save(tmp_path / "a.wav", np.array([1.5, -1.5, 0.0]), 8_000)
    assert read(tmp_path / "a.wav", 8_000).tolist() == [32767 / 32768, -1.0, 0.0]


def test_what_is_no_wave_is_not_saved(tmp_path):
    for wave, reason in (([[0.1], [0.2]], r"got \(2, 1\)"), ([0.1, np.nan], "finite")):
        with pytest.raises(InputError, match=reason):
            save(tmp_path / "a.wav", np.array(wave), 8_000)
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")
    with pytest.raises(SaikiError, match=r"^cannot write "):
        save(tmp_path / "file" / "a.wav", np.zeros(10), 8_000)


def microphone(monkeypatch, rate=44_100, level=None, error=None):
    """A stand-in for sounddevice that hears 440 Hz."""

    class PortAudioError(Exception):
        pass

    def query_devices(kind):
        assert kind == "input"
        if error:
            raise PortAudioError(error)
        return {"default_samplerate": float(rate)}

    def rec(frames, samplerate, channels, dtype, blocking):
        assert (samplerate, channels, dtype, blocking) == (rate, 1, "float32", True)
        wave = sine(440, rate, frames / rate) if level is None else np.full(frames, level)
        return wave.astype(np.float32)[:, None]

    module = types.ModuleType("sounddevice")
    module.PortAudioError, module.query_devices, module.rec = PortAudioError, query_devices, rec
    monkeypatch.setitem(sys.modules, "sounddevice", module)


def test_the_microphone_is_heard_at_the_rate_that_is_wanted(monkeypatch):
    microphone(monkeypatch)
    wave = record(1.0, 8_000)
    assert wave.shape == (8_000,)
    assert np.abs(inside(wave - sine(440, 8_000), 8_000)).max() < 1e-3


def test_a_missing_microphone_or_package_is_told_in_a_sentence(monkeypatch, tmp_path):
    microphone(monkeypatch, level=0.0)
    with pytest.raises(InputError, match="heard nothing; is it muted"):
        record(1.0, 8_000)
    microphone(monkeypatch, error="Error querying device -1")
    with pytest.raises(SaikiError, match=r"^no microphone can be used: Error querying device -1$"):
        record(1.0, 8_000)
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(SaikiError, match=r"pip install 'saiki\[microphone\]'$"):
        record(1.0, 8_000)
    monkeypatch.delitem(sys.modules, "sounddevice")
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SaikiError, match=r"^recording needs the library PortAudio"):
        record(1.0, 8_000)


@pytest.mark.parametrize("seconds", [0, -1, 601, float("nan")])
def test_nobody_records_for_no_time_or_hours(seconds):
    with pytest.raises(InputError, match="must lie between 0 and 600"):
        record(seconds, 8_000)


def test_the_terminal_is_back_when_the_last_of_several_threads_is_done(capfd):
    arrived, leave = threading.Barrier(5), threading.Event()

    def stay():
        with hushed():
            arrived.wait()
            leave.wait()

    threads = [threading.Thread(target=stay) for _ in range(4)]
    for thread in threads:
        thread.start()
    arrived.wait()
    os.write(2, b"dropped")
    leave.set()
    for thread in threads:
        thread.join()
    os.write(2, b"seen")
    assert capfd.readouterr().err == "seen"


def test_a_format_of_ones_own_is_read_by_its_reader(tmp_path, monkeypatch):
    samples = {}
    monkeypatch.setitem(formats.READERS, ".own", lambda path: samples[path.stem])
    wave = np.sin(np.arange(4000) / 5).astype(np.float32)
    samples["one"] = wave, 8000
    samples["two"] = np.stack([wave, 0 * wave], 1), 8000
    samples["whole"] = (wave * 32767).astype(np.int16), 8000  # of what full scale?
    for name in samples:
        (tmp_path / f"{name}.own").write_bytes(b"")
    assert np.array_equal(read(tmp_path / "one.own", 8000), wave)
    np.testing.assert_allclose(read(tmp_path / "two.own", 8000), wave / 2)
    assert read(tmp_path / "one.own", 4000).shape == (2000,)
    with pytest.raises(InputError, match=r"whole\.own cannot be read as sound: samples must"):
        read(tmp_path / "whole.own", 8000)

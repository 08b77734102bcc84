"""Sound in and out: any file as one channel at the rate that is wanted, and the microphone.

A file is read in blocks of bounded size, each mixed to one channel and resampled before the next,
so memory follows the sound that comes out and never what a header says.
"""

import io
import os
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy
import soundfile
import soxr
from numpy.typing import NDArray

from saiki.data.folders import shown
from saiki.data.sound.formats import READERS, Decoded
from saiki.data.sound.headers import share_there
from saiki.data.stderr import hushed
from saiki.errors import InputError, SaikiError
from saiki.files import write_bytes
from saiki.inputs import open_file
from saiki.prediction import FileOutput

Wave = NDArray[numpy.float32]
"""One channel of sound, full scale 1, of shape (samples,)."""

LONGEST = 600.0
"""Seconds; a longer sound is refused."""
RATES = (1_000, 768_000)
"""The lowest and the highest sampling rate, in Hz."""
SILENCE = 1e-4
"""Of full scale, −80 dB; a sound that keeps closer to one value than this is silent."""

MICROPHONE_RATE = 16_000
"""Samples a second of a recording in a file."""

_BLOCK = 1 << 18  # samples of all channels together
_UNKNOWN = 2**63 - 1  # the length of a stream whose header leaves it open
_CUT_SHORT = 0.9  # of the length in the header, which for MP3 may be an estimate


@dataclass(frozen=True)
class Sound(FileOutput):
    """A wave, and the samples of a second."""

    wave: Wave
    rate: int

    ending = ".wav"

    def save(self, path: Path) -> Path:
        """Write it as :func:`save` does."""
        return save(path, self.wave, self.rate)


class SoundError(InputError):
    """One sound cannot be used: ``reason`` is the sentence without the name of the file."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{shown(path)} {reason}")
        self.reason = reason


def read(path: str | Path, rate: int) -> Wave:
    """The sound in a file as one channel at ``rate`` Hz, float32 of shape (samples,).

    Everything that libsndfile reads: WAV of 8 to 32 bits or float, FLAC, OGG, Opus, MP3, AIFF and
    more, and what :mod:`saiki.data.sound.formats` adds. Channels are averaged, and other rates
    resampled with a band limit (soxr, high quality).

    Raises:
        InputError: the file is missing, no sound, broken, cut short, empty, silent, longer than
            ``LONGEST`` seconds, of a sampling rate outside ``RATES``, or holds what is no number.
    """
    path = Path(path)
    check_rate(rate)
    if not path.exists():
        raise SoundError(path, "does not exist")
    try:
        file = open_file(path)
    except InputError as error:
        raise SoundError(path, str(error).removeprefix(f"{path} ")) from None
    with file, hushed() if _talkative(file) else nullcontext():
        try:
            share = share_there(file)
            with _opened(path, file) as stream:
                if share < _CUT_SHORT:
                    seconds = stream.frames / stream.samplerate
                    raise SoundError(path, _cut_short(seconds, seconds / share if share else None))
                wave = _one_channel(path, stream, rate)
        except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise SoundError(path, f"cannot be read as sound: {_reason(error)}") from None
    if not len(wave):
        raise SoundError(path, f"is shorter than one sample at {rate} Hz")
    if not numpy.isfinite(wave).all():
        raise SoundError(path, "holds samples that are too large")
    if _span(wave) < SILENCE:
        raise SoundError(path, f"is silent at {rate} Hz")
    return wave


def save(path: str | Path, wave: NDArray[Any], rate: int) -> Path:
    """Write a wave of shape (samples,) as WAV of 16 bits, whole or not at all.

    What exceeds full scale is clipped. :func:`read` at the same rate gives back what was written,
    rounded to 1/32768.

    Raises:
        InputError: not one channel of finite samples, or a rate outside ``RATES``.
        SaikiError: the file cannot be written.
    """
    check_rate(rate)
    wave = numpy.asarray(wave)
    if wave.ndim != 1:
        raise InputError(f"a wave to save must have the shape (samples,), got {wave.shape}")
    if not numpy.isfinite(wave).all():
        raise InputError("a wave to save must hold finite samples only")
    samples = numpy.rint(numpy.clip(wave * 32768.0, -32768, 32767)).astype(numpy.int16)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
    return write_bytes(Path(path), buffer.getvalue())


def record(seconds: float, rate: int) -> Wave:
    """Record from the microphone that the system prefers: float32 of shape (samples,).

    The microphone runs at its own rate, and what it hears is resampled to ``rate`` Hz.

    Raises:
        InputError: ``seconds`` or ``rate`` is out of range, or the recording is silent.
        SaikiError: the package sounddevice, the library PortAudio or a microphone is missing.
    """
    check_rate(rate)
    if not 0 < seconds <= LONGEST:
        raise InputError(f"seconds to record must lie between 0 and {LONGEST:g}, got {seconds}")
    try:
        import sounddevice
    except ImportError:
        raise SaikiError(
            "recording needs the package sounddevice: pip install 'saiki[microphone]'"
        ) from None
    except OSError:
        raise SaikiError(
            "recording needs the library PortAudio, which the system's packages provide "
            "(Debian and Ubuntu: apt install libportaudio2)"
        ) from None
    try:
        own = int(sounddevice.query_devices(kind="input")["default_samplerate"])
        recording = sounddevice.rec(
            round(seconds * own), samplerate=own, channels=1, dtype="float32", blocking=True
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise SaikiError(f"no microphone can be used: {_reason(error)}") from None
    wave = resample(numpy.asarray(recording, numpy.float32).reshape(-1), own, rate)
    if not len(wave) or _span(wave) < SILENCE:
        raise InputError("the microphone heard nothing; is it muted?")
    return wave


def record_file(seconds: float, path: Path) -> Path:
    """Write what :func:`record` hears at 16 kHz into a file."""
    return save(path, record(seconds, MICROPHONE_RATE), MICROPHONE_RATE)


def resample(wave: Wave, source_rate: int, rate: int) -> Wave:
    """``wave`` of shape (samples,), sampled at ``source_rate`` Hz, at ``rate`` Hz instead."""
    return wave if source_rate == rate else soxr.resample(wave, source_rate, rate, quality="HQ")


def check_rate(rate: int) -> None:
    """Raise :class:`InputError` unless ``rate`` is a sampling rate that is served, in Hz."""
    if not RATES[0] <= rate <= RATES[1]:
        raise InputError(
            f"a sampling rate must lie between {RATES[0]} and {RATES[1]} Hz, got {rate}"
        )


class _Stream(soundfile.SoundFile):
    """Read from front to back: seeking after each block would misplace the next one of an MP3."""

    def seekable(self) -> bool:
        return False


def _opened(path: Path, file: IO[bytes]) -> _Stream | Decoded:
    """The sound in a file, by the reader of its format."""
    if reader := READERS.get(path.suffix.lower()):
        return Decoded(*reader(path))
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    return _Stream(file.fileno(), closefd=False)


def _one_channel(path: Path, stream: _Stream | Decoded, rate: int) -> Wave:
    source_rate = stream.samplerate
    if not RATES[0] <= source_rate <= RATES[1]:
        raise SoundError(
            path,
            f"has a sampling rate of {source_rate} Hz, and {RATES[0]} to {RATES[1]} Hz can be read",
        )
    known = stream.frames != _UNKNOWN
    if known and stream.frames > LONGEST * source_rate:
        raise SoundError(path, _too_long(stream.frames / source_rate))
    if known and stream.frames <= 0:
        raise SoundError(path, "is empty: it holds no samples")
    resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32", quality="HQ")
    parts, frames, low, high = [], 0, numpy.inf, -numpy.inf
    for mixed in _blocks(stream):
        frames += len(mixed)
        if frames > LONGEST * source_rate:
            raise SoundError(path, _too_long(frames / source_rate))
        if not numpy.isfinite(mixed).all():
            raise SoundError(path, "holds samples that are no finite numbers")
        low, high = min(low, float(mixed.min())), max(high, float(mixed.max()))
        parts.append(mixed if source_rate == rate else resampler.resample_chunk(mixed))
    if not frames:
        raise SoundError(path, "is empty: it holds no samples")
    if known and frames < _CUT_SHORT * stream.frames:
        raise SoundError(path, _cut_short(frames / source_rate, stream.frames / source_rate))
    if high - low < SILENCE:  # before the edges of a constant ring in the resampler
        raise SoundError(path, "is silent")
    if source_rate != rate:
        parts.append(resampler.resample_chunk(numpy.empty(0, numpy.float32), last=True))
    return numpy.concatenate(parts)


def _blocks(stream: _Stream | Decoded) -> Iterator[Wave]:
    """The sound from front to back, its channels averaged, in blocks of shape (samples,)."""
    size = max(1, _BLOCK // stream.channels)
    if stream.frames != _UNKNOWN:
        size = min(size, stream.frames)
    while True:
        block = stream.read(size, dtype="float32", always_2d=True)
        if len(block):
            # in float64, where a sum of the largest float32 is still finite
            with numpy.errstate(invalid="ignore"):
                mixed = block[:, 0] if stream.channels == 1 else block.mean(1, numpy.float64)
            yield numpy.ascontiguousarray(mixed, numpy.float32)
        if len(block) < size:
            return


def _span(wave: Wave) -> float:
    return float(wave.max()) - float(wave.min())


def _too_long(seconds: float) -> str:
    return f"is longer than {LONGEST:g} s: it lasts {seconds:.4g} s"


def _cut_short(seconds: float, expected: float | None) -> str:
    return (
        f"is cut short: {seconds:.3g} s are there of {f'{expected:.3g} s' if expected else 'more'}"
    )


def _reason(error: Exception) -> str:
    """What the library said, without the name of the file, on one line."""
    text = getattr(error, "error_string", "") or getattr(error, "strerror", None) or str(error)
    text = " ".join(text.removeprefix("Error : ").split()).rstrip(".")
    # libsndfile says so of an MP3 that its decoder gives up
    return "it is damaged" if not text or text.startswith("File does not exist") else text


def _talkative(file: IO[bytes]) -> bool:
    """Whether reading the file may use the MP3 decoder, which writes warnings to the terminal."""
    head = file.read(4096)
    file.seek(0)
    if head.startswith((b"fLaC", b"OggS")):
        return False
    at = head.find(b"fmt ")
    plain = head.startswith(b"RIFF") and head[at + 8 : at + 10] in (b"\x01\x00", b"\x03\x00")
    return not plain

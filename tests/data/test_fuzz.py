"""Damaged sound files by the hundred: each is sound or one sentence, in bounded time and memory."""

import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import soundfile

from saiki.data.sound.files import LONGEST, read
from saiki.errors import InputError

RATE = 8_000
SEEDS = {
    "wav": {},
    "float.wav": {"subtype": "FLOAT"},
    "wavex.wav": {"format": "WAVEX", "subtype": "PCM_24"},
    "adpcm.wav": {"subtype": "MS_ADPCM"},
    "flac": {},
    "ogg": {},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {},
    "aiff": {},
    "au": {},
    "caf": {},
    "w64": {},
}
MANY = (0, 1, 2, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def seeds(folder):
    draw = np.random.default_rng(0)
    sound = np.sin(np.arange(3_000) / 9)[:, None] * [0.4, 0.3] + draw.normal(0, 0.01, (3_000, 2))
    for name, options in SEEDS.items():
        path = folder / f"seed.{name}"
        soundfile.write(path, sound, 16_000, **options)
        yield name, path.read_bytes()


def mutants(data, draw):
    """Flipped bytes, cuts, repeats, and every kind of number in the header."""
    for _ in range(16):
        changed = bytearray(data)
        reach = len(data) if draw.random() < 0.5 else min(96, len(data))
        for at in draw.integers(0, reach, draw.integers(1, 12)):
            changed[at] = draw.integers(256)
        yield bytes(changed)
    for share in draw.random(6):
        yield data[: int(share * len(data))]
    for _ in range(24):
        changed = bytearray(data)
        width = int(draw.choice([2, 4, 8]))
        at = int(draw.integers(0, 88))
        value = MANY[draw.integers(len(MANY))] & (256**width - 1)
        changed[at : at + width] = value.to_bytes(width, draw.choice(["little", "big"]))
        yield bytes(changed)
    start, stop = sorted(draw.integers(0, len(data), 2))
    yield data[:stop] + data[start:]


def outcome(path):
    """The wave, or what is wrong; anything but an InputError is a failure."""
    try:
        return read(path, RATE)
    except InputError as error:
        return str(error)


def test_a_damaged_file_is_finite_sound_or_one_sentence(tmp_path, capfd):
    draw = np.random.default_rng(1)
    path = tmp_path / "a.wav"
    counts = {np.ndarray: 0, str: 0}
    for name, data in seeds(tmp_path):
        for number, mutant in enumerate(mutants(data, draw)):
            path.write_bytes(mutant)
            start = time.perf_counter()
            what = outcome(path)
            assert time.perf_counter() - start < 5, (name, number)
            counts[type(what)] += 1
            if isinstance(what, str):
                assert what.startswith(f"{path} "), (name, number)
                assert "\n" not in what, (name, number)
            else:
                assert what.dtype == np.float32
                assert what.ndim == 1
                assert 0 < len(what) <= LONGEST * RATE + 1
                assert np.isfinite(what).all(), (name, number)
    assert sum(counts.values()) >= 500
    assert min(counts.values()) >= 100  # else the mutants are too tame, or too wild, to tell
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_no_header_takes_memory_that_the_file_does_not_fill(tmp_path):
    """In a process of its own that may take 300 MB more than Python and its libraries do."""
    sound = np.sin(np.arange(2_000) / 9) * 0.4
    soundfile.write(tmp_path / "many.wav", np.tile(sound[:, None], 1_024), 8_000)
    soundfile.write(tmp_path / "long.flac", np.zeros(600 * 192_000, np.int16), 192_000)
    for name, at, value in (
        ("size.wav", 40, 0x7FFFFFFF),
        ("channels.wav", 22, 0x0000_0400),
        ("rate.wav", 24, 767_999),
    ):
        soundfile.write(tmp_path / name, sound, 8_000)
        data = bytearray((tmp_path / name).read_bytes())
        data[at : at + 4] = value.to_bytes(4, "little")
        (tmp_path / name).write_bytes(data)
    code = """
        import resource, sys
        from pathlib import Path
        from saiki.data import read
        from saiki.errors import InputError
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
        for path in sys.argv[1:]:
            try:
                print(len(read(path, 8_000)))
            except InputError as error:
                print(error)
    """
    files = sorted(path for path in tmp_path.iterdir() if path.suffix in (".wav", ".flac"))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *files],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.stderr == ""
    outcomes = dict(zip((path.name for path in files), done.stdout.splitlines(), strict=True))
    assert outcomes.pop("many.wav") == "2000"
    assert outcomes.pop("long.flac").endswith("long.flac is silent")  # 460 MB, if read at once
    assert outcomes.pop("size.wav") == "2000"
    assert outcomes.pop("rate.wav") == str(round(2_000 * RATE / 767_999))
    assert outcomes.keys() == {"channels.wav"}

"""What ``saiki predict`` takes for inputs far longer than usual, exercise by exercise.

Each exercise is trained for a few updates with layers of the size that they have by default, and is
then given an input of the usual length and such of many times that length, each in a process of its
own: seconds of one processor, the most memory that the process had, and whether it was refused.
"""

import os
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from saiki import cli  # noqa: E402
from saiki.bench.harness import Row  # noqa: E402
from saiki.experiments import load  # noqa: E402
from tiny import TINY  # noqa: E402

SIZES = ("hidden_size", "embedding_size", "width", "size", "code_size", "latent_size", "prior_size")
"""Settings of the smallest runs that are left at their defaults here."""
LIMIT, ROOM = 300.0, 8 * 2**30
"""Seconds of an input, and bytes of address space."""


def text(usual: str) -> Callable[[int, Path], str]:
    """The same words again and again."""
    return lambda times, folder: " ".join([usual] * times)


def wave(seconds: float) -> Callable[[int, Path], str]:
    def write(times: int, folder: Path) -> str:
        t = np.arange(int(8000 * seconds * times)) / 8000
        soundfile.write(folder / "long.wav", 0.4 * np.sin(1200 * 6.28 * t), 8000)
        return str(folder / "long.wav")

    return write


def image(times: int, folder: Path) -> str:
    """So many times the pixels of a square of 32."""
    side = round(32 * times**0.5)
    pixels = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "large.png")
    return str(folder / "large.png")


def table(times: int, folder: Path) -> str:
    """So many times 240 hours of a load."""
    start, lines = np.datetime64("2024-01-01T00"), ["time,load"]
    for t in range(240 * times):
        lines.append(f"{start + np.timedelta64(t, 'h')},{3 + np.sin(t / 12 * np.pi):.4f}")
    (folder / "long.csv").write_text("\n".join(lines), encoding="utf-8")
    return str(folder / "long.csv")


SENTENCE = "the food was good and the staff was kind but the room was cold"
INPUTS: dict[str, Callable[[int, Path], str]] = {
    "adder": lambda times, folder: f"{'37' * times} + {'58' * times}",
    "sin-cos": text("0 0.5 0.9 1.0 0.9 0.5 0 -0.5 -0.9 -1.0 -0.9 -0.5"),
    "date": text("March 5, 2000"),
    "translate": text("a b c d e f g h i j"),
    "proofread": text("Teh quick fox jumps over the lazy dog."),
    "sentences": text(SENTENCE),
    "masked-lm": text("The quick [MASK] jumps over the lazy dogs."),
    "words": text("fox dogs over"),
    "forecast": table,
    "spoken-digits": wave(0.5),
    "vae": image,
    "dialogue": text("i am ann and who are you"),
    "dialogue, turns": lambda times, folder: "\n".join(["i am ann", "hello bob"] * times),
    "sentence-vae": text("the quick brown fox jumps over the lazy dogs"),
    "sentence-vae, way": lambda times, folder: " | ".join(["the quick fox", "lazy dogs"] * times),
    "augment": image,
    "vq-vae": image,
    "sound-codes": wave(0.5),
}


def rows(
    exercises: str = ",".join(name for name in INPUTS if "," not in name),
    times: str = "1,10,100,1000",
    runs: Path = Path("runs/long-inputs"),
) -> Iterator[Row]:
    torch.set_num_threads(1)
    os.environ["POLARS_MAX_THREADS"] = "1"
    counts = [*map(int, times.split(","))]
    for exercise in exercises.split(","):
        folder = trained(exercise, runs)
        for name in (name for name in INPUTS if name.partition(",")[0] == exercise):
            ends = {f"× {count:,}": taken(INPUTS[name], folder, count) for count in counts}
            yield {"workload": name, "taken": ends}


def trained(name: str, root: Path) -> Path:
    """The run of an exercise in ``root``, made if it is not there."""
    folder, data, tiny = root / name, root / f"data-{name}", TINY[name]
    if not (folder / "result.json").exists():
        data.mkdir(parents=True, exist_ok=True)
        words = tiny.flags(data)
        defaults = {f"--{size.replace('_', '-')}" for size in SIZES}
        pairs = zip(words[::2], words[1::2], strict=True)
        words = [word for pair in pairs if pair[0] not in defaults for word in pair]
        code = in_a_fork(["run", name, *words, "--out", str(folder)])[0]
        if code:
            raise RuntimeError(f"{name} cannot be trained")
    return folder


def taken(make: Callable[[int, Path], str], run: Path, times: int) -> str:
    """Seconds and memory of an input so many times the usual length, in words."""
    with tempfile.TemporaryDirectory() as folder:
        out = ["--out", folder] if load(run.name).takes in ("image", "sound") else []
        code, seconds, used = in_a_fork(["predict", str(run), make(times, Path(folder)), *out])
    how = {0: "", 2: ", refused"}.get(code, ", killed" if code < 0 else f", code {code}")
    return f"{seconds:.1f} s, {used / 2**20:.0f} MB{how}"


def in_a_fork(words: list[str]) -> tuple[int, float, int]:
    """The exit code of a command, its seconds of a processor, and its most memory in bytes."""
    child = os.fork()
    if not child:
        code = 1
        try:
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            resource.setrlimit(resource.RLIMIT_AS, (ROOM, ROOM))
            signal.alarm(int(LIMIT))
            code = cli.main(words)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        finally:
            os._exit(code)
    _, status, used = os.wait4(child, 0)
    seconds = used.ru_utime + used.ru_stime
    return os.waitstatus_to_exitcode(status), seconds, used.ru_maxrss * 1024

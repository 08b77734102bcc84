"""Each exercise at its smallest: settings, data and inputs, for what is asked of all of them.

An exercise that is new has its line in ``TINY``; the contract is held against it from then on.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

NO_TEXT = b"\xff\xfe\x00 not text"
Values = Mapping[str, object]


@dataclass(frozen=True)
class Tiny:
    """One exercise.

    Args:
        settings: with which a run takes a second or so.
        input: an input of ``predict``, or what writes one into a folder.
        refused: an input that has no answer, if there is one.
        data: writes data into a folder, and returns the path; None where none is read.
        useless: of the same kind, by what is wrong with them.
        odd: settings that are allowed, and leave one example or so.
        table: fields of the lines of an answer that is a table; none where it is one line.
    """

    settings: Values
    input: str | Callable[[Path], str]
    refused: str | None = None
    data: Callable[[Path], Path] | None = None
    useless: Mapping[str, Callable[[Path], Path]] = field(default_factory=dict)
    odd: Values = field(default_factory=dict)
    table: tuple[str, ...] = ()

    def flags(self, folder: Path, **changes: object) -> list[str]:
        """The settings as words of the command line, with data in ``folder``."""
        values = {**self.settings, "device": "cpu", **changes}
        if self.data is not None and "data" not in changes:
            values["data"] = self.data(folder)
        return [w for n, v in values.items() for w in (f"--{n.replace('_', '-')}", str(v))]

    def values(self, folder: Path, **changes: object) -> dict[str, object]:
        """The settings as knobs."""
        data = {} if self.data is None else {"data": str(self.data(folder))}
        return {**self.settings, "device": "cpu", **data, **changes}


def loads(folder: Path) -> Path:
    """A load by the hour, which waves once a day."""
    path, random = folder / "loads.csv", np.random.default_rng(0)
    lines = ["time,load"]
    for t in range(480):
        time = np.datetime64("2024-01-01T00") + np.timedelta64(t, "h")
        lines.append(f"{time},{3 + np.sin(t / 12 * np.pi) + 0.1 * random.standard_normal():.4f}")
    path.write_text("\n".join(lines) + "\n")
    return path


def file(name: str, content: str | bytes) -> Callable[[Path], Path]:
    """What writes a file into a folder."""
    content = content.encode() if isinstance(content, str) else content

    def write(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(content)
        return path

    return write


def book(folder: Path) -> Path:
    """Sentences of a few words."""
    random = np.random.default_rng(0)
    words = ["the", "quick", "brown", "fox", "jumps", "over", "lazy", "dogs"]
    lines = (" ".join(random.choice(words, random.integers(5, 9))) for _ in range(400))
    return file("book.txt", "".join(f"{line.capitalize()}.\n" for line in lines))(folder)


def tones(folder: Path, takes: int = 6) -> Path:
    """A folder for each of two pitches."""
    random = np.random.default_rng(0)
    for label, hertz in (("high", 1200), ("low", 300)):
        (folder / "tones" / label).mkdir(parents=True, exist_ok=True)
        for repetition in range(takes):
            t = np.arange(random.integers(600, 900)) / 8000
            soundfile.write(
                folder / "tones" / label / f"{repetition}.wav", 0.4 * np.sin(hertz * t * 6.28), 8000
            )
    return folder / "tones"


def one_tone(folder: Path) -> Path:
    return tones(folder, takes=1)


def no_tones(folder: Path) -> Path:
    (folder / "empty" / "low").mkdir(parents=True)
    return folder / "empty"


def broken_tones(folder: Path) -> Path:
    for label in ("low", "high"):
        (folder / "broken" / label).mkdir(parents=True)
        file("1.wav", b"RIFF and no more")(folder / "broken" / label)
    return folder / "broken"


def recording(folder: Path) -> str:
    return str(tones(folder) / "low" / "0.wav")


def squares(folder: Path, count: int = 8) -> Path:
    """A folder for each of two classes, of images of odd size in colour: a bright half on the left
    or on the right."""
    random = np.random.default_rng(0)
    for label, rows in (("left", slice(0, 4)), ("right", slice(3, 7))):
        (folder / "squares" / label).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = random.integers(0, 80, (9, 7, 3), np.uint8)
            pixels[:, rows] += 150
            Image.fromarray(pixels).save(folder / "squares" / label / f"{i}.png")
    return folder / "squares"


def no_squares(folder: Path) -> Path:
    (folder / "empty").mkdir()
    file("notes.txt", "no image")(folder / "empty")
    return folder / "empty"


def broken_squares(folder: Path) -> Path:
    images = squares(folder)
    for path in images.rglob("*.png"):
        path.write_bytes(b"\x89PNG and no more")
    return images


def square(folder: Path) -> str:
    return str(squares(folder) / "left" / "0.png")


def opinions(folder: Path) -> Path:
    """Sentences that are good or bad by one of their words."""
    words = {"good": ("good", "clean", "kind"), "bad": ("cold", "dirty", "loud")}
    rows = [
        f"the {what} was {which}{end}\t{label}\n"
        for label, texts in words.items()
        for what in ("food", "room", "staff", "bath")
        for which in texts
        for end in (".", " again .")
    ]
    return file("opinions.tsv", "".join(rows))(folder)


def talks(folder: Path) -> Path:
    """Dialogues in which somebody's name comes back."""
    lines = (
        json.dumps([f"i am {name}", f"hello {name} !", f"are you {other} ?", f"no , {name}"])
        for name in ("ann", "bob", "cleo", "dan", "eve", "finn", "gus", "hal")
        for other in ("ian", "joe", "kim", "lea", "may")
    )
    return file("talks.jsonl", "\n".join(lines))(folder)


PAIRS = "".join(f"{a} {b}\t{b} {a}\n" for a in "abcdef" for b in "ghijkl")
WAVE = "".join(f"{np.sin(i / 3):.6f},{np.cos(i / 3):.6f}\n" for i in range(40))
SMALL = {"hidden_size": 4, "embedding_size": 4}
TEXTS = {"empty": file("t.txt", ""), "broken": file("t.txt", NO_TEXT), "one": file("t.txt", "One.")}

TINY = {
    "adder": Tiny(
        {"iterations": 6, "bits": 4, "longer_bits": 5, "hidden_size": 4, "log_every": 3},
        input="3 + 4",
        refused="3 +",
        odd={"bits": 2, "longer_bits": 2, "batch_size": 1},
    ),
    "sin-cos": Tiny(
        {"steps": 6, "epochs": 2.0, "updates": 0, "hidden_size": 4, "log_every": 2},
        input="0 0.5 0.9 1.0 0.9 0.5",
        refused="a b",
        data=file("wave.csv", WAVE),
        useless={
            "empty": file("w.csv", ""),
            "broken": file("w.csv", NO_TEXT),
            "one": file("w.csv", "1,2\n"),
        },
        odd={"steps": 38, "validation": 0.5},
    ),
    "date": Tiny(
        {**SMALL, "languages": "en", "pairs": 64, "epochs": 2.0, "updates": 4},
        input="March 5, 2000",
        refused="\udc80",
        odd={"pairs": 1, "updates": 1},
    ),
    "translate": Tiny(
        {**SMALL, "source": "x", "target": "y", "minimum": 1, "updates": 4, "epochs": 1.0},
        input="a g",
        refused="\udc80",
        data=file("pairs.tsv", PAIRS),
        useless={
            "empty": file("p.tsv", ""),
            "broken": file("p.tsv", NO_TEXT),
            "one": file("p.tsv", "a\tb\n"),
        },
        odd={"longest": 2, "batch_size": 1},
    ),
    "proofread": Tiny(
        {**SMALL, "iterations": 4, "log_every": 2, "length": 40, "layers": 1, "threshold": 0.5},
        input="Teh quick fox.",
        data=book,
        useless=TEXTS,
        odd={"batch_size": 1, "length": 10},
    ),
    "sentences": Tiny(
        {
            "vectors": "scratch",
            "tokens": "plain",
            "embedding_size": 4,
            "hidden_size": 4,
            "minimum": 1,
            "epochs": 1.0,
            "updates": 4,
            "log_every": 2,
        },
        input="The food was good.",
        refused="  ",
        data=opinions,
        useless={
            "empty": file("t.tsv", ""),
            "broken": file("t.tsv", NO_TEXT),
            "one": file("t.tsv", "good\tfine\n"),
        },
        odd={"batch_size": 1},
    ),
    "masked-lm": Tiny(
        {**SMALL, "iterations": 4, "log_every": 2, "minimum": 1},
        input="The [MASK] fox.",
        refused="no word is hidden",
        data=book,
        useless=TEXTS,
        odd={"batch_size": 1, "sentences": 1},
    ),
    "words": Tiny(
        {
            "size": 8,
            "minimum": 1,
            "epochs": 2.0,
            "updates": 0,
            "batch_size": 64,
            "log_every": 2,
            "window": 2,
        },
        input="fox",
        refused="no-such-word",
        data=book,
        useless={name: make for name, make in TEXTS.items() if name != "one"},
        odd={"window": 1, "negatives": 1, "size": 1},
    ),
    "forecast": Tiny(
        {
            "hidden_size": 4,
            "horizon": 4,
            "look_back": 8,
            "segment": 4,
            "batch_size": 16,
            "epochs": 2.0,
            "updates": 0,
            "target": "load",
        },
        input=lambda folder: str(loads(folder)),
        refused="no-such-table.csv",
        data=loads,
        useless={
            "empty": file("t.csv", ""),
            "broken": file("t.csv", NO_TEXT),
            "one": file("t.csv", "time,load\n2024-01-01,3\n"),
        },
        odd={"batch_size": 1, "horizon": 1, "look_back": 2, "segment": 1, "every": 50},
        table=("time", "series", "target", "mean", "quantiles"),
    ),
    "spoken-digits": Tiny(
        {"hidden_size": 4, "layers": 1, "bands": 8, "epochs": 2.0, "updates": 4, "batch_size": 4},
        input=recording,
        refused="no-such-file.wav",
        data=tones,
        useless={"empty": no_tones, "broken": broken_tones, "one": one_tone},
        odd={"batch_size": 1},
    ),
    "vae": Tiny(
        {
            "width": 4,
            "latent_size": 3,
            "epochs": 2.0,
            "updates": 0,
            "batch_size": 4,
            "nll_samples": 5,
        },
        input=square,
        refused="no-such-file.png",
        data=squares,
        useless={
            "empty": no_squares,
            "broken": broken_squares,
            "one": lambda folder: squares(folder, count=1),
        },
        odd={"batch_size": 1, "latent_size": 1, "width": 1, "side": 1, "nll_samples": 1},
    ),
    "dialogue": Tiny(
        {
            **SMALL,
            "model": "vhred",
            "latent_size": 2,
            "minimum": 1,
            "epochs": 2.0,
            "updates": 0,
            "draws": 2,
            "longest": 6,
        },
        input="i am ann",
        refused="\udc80",
        data=talks,
        useless={
            "empty": file("t.jsonl", ""),
            "broken": file("t.jsonl", NO_TEXT),
            "one": file("t.jsonl", '["a", "b"]'),
        },
        odd={"batch_size": 1, "replies": 1, "before": 1, "longest": 1},
    ),
    "sentence-vae": Tiny(
        {
            **SMALL,
            "latent_size": 3,
            "minimum": 1,
            "epochs": 2.0,
            "updates": 0,
            "nll_samples": 3,
            "longest": 12,
        },
        input="The quick brown fox.",
        refused="  ",
        data=book,
        useless=TEXTS,
        odd={"batch_size": 1, "latent_size": 1, "nll_samples": 1, "sentences": 1},
    ),
    "augment": Tiny(
        {
            "width": 4,
            "epochs": 2.0,
            "updates": 4,
            "batch_size": 4,
            "crop": 0.2,
            "mixup": 0.2,
            "noise": 0.1,
        },
        input=square,
        refused="no-such-file.png",
        data=squares,
        useless={
            "empty": no_squares,
            "broken": broken_squares,
            "one": lambda folder: squares(folder, count=1),
        },
        odd={"batch_size": 1, "side": 1, "examples": 2, "quarter_turns": 3, "blur": 0.1},
    ),
    "vq-vae": Tiny(
        {"width": 4, "code_size": 3, "codes": 8, "hidden_size": 4, "embedding_size": 4}
        | {"epochs": 2.0, "updates": 0, "batch_size": 4, "judge": 2},
        input=square,
        refused="no-such-file.png",
        data=squares,
        useless={
            "empty": no_squares,
            "broken": broken_squares,
            "one": lambda folder: squares(folder, count=1),
        },
        odd={"batch_size": 1, "code_size": 1, "width": 1, "side": 1, "codes": 1, "judge": 1},
    ),
    "sound-codes": Tiny(
        {"hidden_size": 4, "code_size": 3, "codes": 8, "embedding_size": 4, "prior_size": 4}
        | {"window": 64, "hop": 16, "epochs": 2.0, "updates": 4, "batch_size": 4, "judge": 2},
        input=recording,
        refused="no-such-file.wav",
        data=tones,
        useless={"empty": no_tones, "broken": broken_tones, "one": one_tone},
        odd={"batch_size": 1, "code_size": 1, "codes": 1, "frames_per_code": 256, "judge": 1},
    ),
}


def with_quantiser(name: str, folder: Path, **changes: object) -> dict[str, object]:
    """Tiny settings of an exercise with a codebook, without those that are nothing to its
    quantiser."""
    unused = {"scalars": ("codes", "code_size"), "gaussian": ("codes",), "plain": ("codes",)}
    values = TINY[name].values(folder)
    for knob in unused.get(str(changes.get("quantiser")), ()):
        values.pop(knob, None)
    return {**values, **changes}

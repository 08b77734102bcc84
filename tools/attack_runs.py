"""Forged run folders: a stranger's, with checksums that are right and contents that nobody wrote.

Each begins as a small run of an exercise. Numbers, types, names, shapes and nesting of its files
are changed, the checksums are made anew, and saiki is asked for something in a process of bounded
memory. It must succeed or say one sentence and end with exit code 2; whatever else it does is
printed with the number that makes the same forgery again.
"""

import argparse
import collections
import contextlib
import copy
import importlib
import json
import math
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

ROOM = 5 * 2**30
"""Bytes of address space that a command may take beside those that it begins with: more than it
uses, since threads and libraries reserve what they never touch."""
MOST = 2**30
"""Bytes that a command may use; nobody's small run needs as much."""
NUMBERS = (0, 1, -1, 2, 3, 7, 1000, 10**6, 10**9, 2**31, 2**63, 10**30, 0.5, -0.5, 1e30, 1e308)
OTHERS = (None, True, False, "", "x", "\x1b[2J", "\ud800", [], {}, [[]], {"": 0}, [None], "10")
NO_NUMBERS = (float("nan"), float("inf"))
CHECKPOINT = Path("checkpoint", "training.safetensors")


def add(attacks: Any) -> None:
    parser = attacks.add_parser("runs", help="forged run folders, each from a number")
    parser.add_argument("--count", type=int, default=500, help="how many folders")
    parser.add_argument("--seed", type=int, default=0, help="the number of the first")
    parser.add_argument("--only", nargs="*", help="names of exercises; all of them without")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one command")
    parser.add_argument("--runs", type=Path, help="folder that keeps the small runs")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Forge the folders one after the other; 1 if there is a finding."""
    prepare()
    counts: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.runs or Path(temporary)
        originals = [original(name, root) for name in arguments.only or names()]
        for seed in range(arguments.seed, arguments.seed + arguments.count):
            forgery = Forgery(originals[seed % len(originals)], seed)
            for words in forgery.commands():
                end = forgery.tried(words, arguments.limit)
                counts[end.kind] += 1
                if end.is_finding:
                    print(f"# {seed} {forgery}: {words[0]}: {end}", flush=True)
    print(", ".join(f"{kind} {count}" for kind, count in sorted(counts.items())))
    return any(kind not in ("done", "refused") for kind in counts)


def prepare() -> None:
    """Import what the commands need, so that a fork has it at once; and start no thread."""
    torch.set_num_threads(1)
    os.environ["POLARS_MAX_THREADS"] = "1"
    modules = "cli", "runs.compare", "runs.export", "runs.reopen", "runs.run", "runs.predict"
    for module in (*(f"saiki.{each}" for each in modules), "torch.onnx._internal.exporter._core"):
        importlib.import_module(module)
    from saiki.experiments import HOMES, load

    for name in HOMES:
        load(name)


def names() -> list[str]:
    from saiki.experiments import HOMES

    return list(HOMES)


@dataclass(frozen=True)
class Original:
    """A small run that is whole."""

    name: str
    folder: Path
    input: str


def original(name: str, root: Path) -> Original:
    """The small run of an exercise; the one that is in ``root``, if there is one."""
    from tiny import TINY

    tiny, data = TINY[name], root / f"data-{name}"
    data.mkdir(parents=True, exist_ok=True)
    input = tiny.input if isinstance(tiny.input, str) else tiny.input(data)
    if not (root / name / "result.json").exists():
        words = ["run", name, *tiny.flags(data), "--out", str(root / name)]
        end = in_a_fork(words, root, 600.0, 2**40)
        if end.kind != "done":
            raise RuntimeError(f"{name} cannot be run: {end}")
    return Original(name, root / name, input)


@dataclass(frozen=True)
class End:
    """How a command has ended."""

    kind: str
    """``done`` or ``refused``; all others are findings."""
    message: str = ""

    @property
    def is_finding(self) -> bool:
        return self.kind not in ("done", "refused")

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


def in_a_fork(words: Sequence[str], folder: Path, limit: float, room: int) -> End:
    """How a command of saiki ends in a process of its own.

    Args:
        folder: where it works, and where what it says is kept for a moment.
        limit: seconds.
        room: bytes of memory beside what it begins with.
    """
    log = folder / ".said"
    child = os.fork()
    if not child:
        _as_a_command(words, folder, log, room)
    until = time.monotonic() + limit
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.wait4(child, 0)
            return End("takes too long", " ".join(words))
        time.sleep(0.005)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    log.unlink()
    if os.WIFSIGNALED(status):
        return End(f"killed by signal {os.WTERMSIG(status)}", lines[-1] if lines else "")
    code = os.waitstatus_to_exitcode(status)
    last = lines[-1] if lines else ""
    if any(line.startswith("Traceback") for line in lines):
        places = [line.strip() for line in lines if line.lstrip().startswith("File ")]
        return End("traceback", f"{last} {places[-1]}")
    if used.ru_maxrss * 1024 > MOST:
        return End("memory", f"{used.ru_maxrss / 2**20:.2f} GiB were used; {last}")
    if code == 0:
        return End("done")
    if "not enough memory" in last:
        return End("memory", last)
    if code != 2 or not last.startswith("saiki "):
        return End(f"code {code}", " | ".join(lines[-3:]))
    if len([line for line in lines if not line.startswith("saiki predict: unknown to")]) > 1:
        return End("several lines", " | ".join(lines[-3:]))
    return End("refused", last)


def _as_a_command(words: Sequence[str], folder: Path, log: Path, room: int) -> None:
    """What ``saiki`` does, in a fork, which ends here."""
    from saiki import cli

    code = 99
    try:
        with log.open("wb") as err, Path(os.devnull).open("wb") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
        os.chdir(folder)
        sys.argv = ["saiki", *words]
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + room
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        code = cli.main(list(words))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


@dataclass
class Forgery:
    """A run folder that nobody trained, made by a number.

    Args:
        original: from which it is made.
        seed: what is changed, and how.
    """

    original: Original
    seed: int
    changes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.part = self.draw.choice(
            ["model"] * 5 + ["fitting"] * 3 + ["knobs"] * 4 + ["tensors"] * 2
            + ["words", "checkpoint", "checkpoint", "logs"]
        )  # fmt: skip

    def __str__(self) -> str:
        return f"{self.original.name}, {self.part}: {'; '.join(self.changes)}"

    def commands(self) -> list[list[str]]:
        """What is asked of it, ``DIR`` being its folder."""
        name, input = self.original.name, self.original.input
        predict, export = ["predict", "DIR", input], ["export", "DIR", "--onnx", "DIR/a.onnx"]
        compare = ["compare", "DIR", str(self.original.folder), "--out", "DIR/a.png"]
        resume = ["run", name, "--out", "DIR", "--resume"]
        if self.part == "checkpoint":
            return [resume]
        if self.part == "logs":
            return [compare]
        if self.part in ("knobs", "words"):
            return [predict, self.draw.choice([compare, resume, export])]
        return [predict, export] if self.draw.random() < 0.3 else [predict]

    def tried(self, words: Sequence[str], limit: float) -> End:
        """How the command ends in a new folder of this forgery."""
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary, "run")
            shutil.copytree(self.original.folder, folder)
            self.draw.seed(self.seed)
            self.changes.clear()
            self._forge(folder)
            if words[0] == "run":
                (folder / "result.json").unlink(missing_ok=True)
            words = [word.replace("DIR", str(folder)) for word in words]
            return in_a_fork(words, Path(temporary), limit, ROOM)

    def _forge(self, folder: Path) -> None:
        from saiki.saving import tensors

        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        weights, about = tensors.load(folder / "model.safetensors")
        match self.part:
            case "model":
                for _ in range(self.draw.choice([1, 1, 1, 2, 4])):
                    self._change(about, "model")
            case "fitting":
                self._change_sizes(about, weights)
            case "knobs":
                for _ in range(self.draw.choice([1, 1, 2])):
                    self._change(config, "knobs")
                about["run"] = [config.get("experiment"), config.get("knobs")]
            case "tensors":
                for _ in range(self.draw.choice([1, 2])):
                    self._change_tensor(weights)
            case "words":
                self._change(*self.draw.choice([({"": config}, ""), ({"": about}, "")]))
            case "checkpoint":
                weights, state = tensors.load(folder / CHECKPOINT)
                if self.draw.random() < 0.3:
                    self._change_tensor(weights)
                else:
                    self._change(state, self.draw.choice(list(state)))
                _save(folder / CHECKPOINT, weights, state)
                return
            case "logs":
                self._change_logs(folder)
                return
        text = json.dumps(config, ensure_ascii=True)
        (folder / "config.json").write_text(text, encoding="utf-8")
        _save(folder / "model.safetensors", weights, about)

    def _change(self, holder: Any, key: Any) -> None:
        """Change one place at ``holder[key]`` or below, if that is still there."""
        if key not in holder and not isinstance(holder, list):
            return
        holder, key, path = self.draw.choice(list(_places(holder, key, str(key))))
        old = holder[key]
        kind = self.draw.choice(["number", "number", "other", "name", "nest", "drop", "swap"])
        if kind == "number" and isinstance(old, int | float):
            near = (old + 1, old - 1, old * 2, -old, float(old), old * 1000)
            new: Any = self.draw.choice([*NUMBERS, *NO_NUMBERS, *near])
        elif kind == "name" and isinstance(old, str):
            new = self.draw.choice([*_class_names(), old.upper(), old + "x", old * 1000])
        elif kind == "name" and isinstance(old, dict) and old:
            name = self.draw.choice(list(old))
            new = {("x" + k if k == name else k): v for k, v in old.items()}
        elif kind == "nest":
            new = old
            for _ in range(self.draw.choice([1, 2, 30, 400])):
                new = [new] if self.draw.random() < 0.5 else {"same": new}
        elif kind == "drop" and isinstance(old, dict | list) and old:
            new = copy.copy(old)
            del new[self.draw.choice(list(old) if isinstance(old, dict) else range(len(old)))]
        elif kind == "drop" and isinstance(holder, dict) and len(holder) > 1:
            self.changes.append(f"{path} left out")
            del holder[key]
            return
        elif kind == "swap" and isinstance(old, list):
            new = self.draw.choice([old * 2, old[:1] * 50, old[::-1], [old], old[:-1]])
        elif isinstance(old, int | float):
            new = self.draw.choice([*NUMBERS, *NO_NUMBERS, *OTHERS])
        else:
            new = self.draw.choice([*NUMBERS, *OTHERS])
        self.changes.append(f"{path} {_short(old)} → {_short(new)}")
        holder[key] = new

    def _change_sizes(self, about: dict[str, Any], weights: dict[str, torch.Tensor]) -> None:
        """Change one number wherever it stands, and all sizes of tensors with it."""
        places = list(_places(about, "model", "model"))
        numbers = sorted({h[k] for h, k, _ in places if type(h[k]) is int and h[k] > 0})
        if not numbers:
            return self._change(about, "model")
        old, new = self.draw.choice(numbers), self.draw.choice([0, 1, 2, 3, 5, 9, 64])
        for holder, key, _ in places:
            if type(holder[key]) is int and holder[key] == old:
                holder[key] = new
        for name, tensor in weights.items():
            sizes = [n // old * new if n % old == 0 else n for n in tensor.shape]
            if math.prod(sizes) < 10**6:  # the file stays small
                weights[name] = torch.randn(sizes).to(tensor)
        self.changes.append(f"every {old} is {new}")
        if self.draw.random() < 0.5:
            self._change(about, "model")

    def _change_tensor(self, weights: dict[str, torch.Tensor]) -> None:
        name = self.draw.choice(list(weights))
        old = weights.pop(name)
        kinds = ["transposed", "flat", "more", "none", "scalar", "type", "nan", "huge", "away"]
        kind = self.draw.choice([*kinds, "renamed"])
        match kind:
            case "transposed":
                weights[name] = old.T if old.ndim == 2 else old.unsqueeze(0)
            case "flat":
                weights[name] = old.flatten()
            case "more":
                weights[name] = torch.cat((old, old)) if old.ndim else old.repeat(3)
            case "none":
                weights[name] = old[:0] if old.ndim else old
            case "scalar":
                weights[name] = torch.zeros((), dtype=old.dtype)
            case "type":
                types = torch.int64, torch.bool, torch.complex64, torch.float16, torch.uint8
                kind = str(dtype := self.draw.choice(types))
                weights[name] = old.to(dtype)
            case "nan" | "huge":
                full = float("nan") if kind == "nan" else 1e38
                weights[name] = torch.full_like(old, full if old.is_floating_point() else 127)
            case "renamed":
                weights[name + "x"] = old
        self.changes.append(f"tensor {name}: {kind}")

    def _change_logs(self, folder: Path) -> None:
        name = self.draw.choice(["result.json", "metrics.jsonl"])
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        records = (
            [json.loads("\n".join(lines))] if name == "result.json" else [*map(json.loads, lines)]
        )
        self._change(records, self.draw.randrange(len(records)))
        text = "\n".join(json.dumps(record) for record in records)
        (folder / name).write_text(text, encoding="utf-8")


def _save(path: Path, weights: dict[str, torch.Tensor], about: Any) -> None:
    """Write them with a checksum that is right, whatever the words are."""
    from safetensors.torch import save_file

    from saiki.saving import tensors

    own, words = {name: t.contiguous().clone() for name, t in weights.items()}, json.dumps(about)
    header = json.dumps({"about": words, "sha256": tensors._checksum(own, words)})
    save_file(own, path, {"saiki": header})


def _places(holder: Any, key: Any, path: str) -> Iterator[tuple[Any, Any, str]]:
    """All that can be changed from ``holder[key]`` on, with where it is."""
    yield holder, key, path
    value = holder[key]
    if isinstance(value, dict):
        for name in value:
            yield from _places(value, name, f"{path}.{name}")
    elif isinstance(value, list):
        for i in range(min(len(value), 6)):
            yield from _places(value, i, f"{path}.{i}")


def _class_names() -> list[str]:
    from saiki.saving import description

    return sorted(description._registry)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 60 else f"{text[:60]}…"

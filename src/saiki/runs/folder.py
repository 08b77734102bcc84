"""The run folder: what a training leaves behind, in files that are whole or absent."""

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from saiki.errors import InputError, SaikiError
from saiki.files import TEMPORARY, locked, to_json, write_json, write_text
from saiki.inputs import read_json, read_text

CONFIG, RESULT, LOCK = "config.json", "result.json", ".lock"


def folder_name(changes: Mapping[str, Any]) -> str:
    """What the folder of a run with these changes is called; a path among them is no path there."""
    return ",".join(f"{name}={value}" for name, value in changes.items()).replace("/", "_")


def _is_figure(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and abs(value) < 1e300)


class RunFolder:
    """``config.json``, ``metrics.jsonl``, ``result.json``, ``model.safetensors`` and pictures."""

    def __init__(self, path: Path, is_new: bool = False) -> None:
        self.path = path
        self.is_new = is_new
        """Whether it has been made for the run."""

    @classmethod
    def create(cls, name: str, out: Path | None = None) -> "RunFolder":
        """A new folder at ``out``, or the next of ``runs/NAME/1``, ``2``, … here.

        Raises:
            InputError: ``out`` holds something already.
            SaikiError: the folder cannot be made.
        """
        try:
            if out is None:
                return cls(_next(Path("runs") / name), is_new=True)
            cls.refuse_used(out)
            is_new = not out.exists()
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SaikiError(f"cannot make the folder {out or 'runs'}: {error.strerror}") from error
        return cls(out, is_new)

    @classmethod
    def refuse_used(cls, out: Path | None) -> None:
        """Raise :class:`InputError` if a new run has no place in ``out``."""
        if out is not None and out.is_dir() and any(path.name != LOCK for path in out.iterdir()):
            raise InputError(f"{out} is not empty; choose another --out, or remove it first")

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing folder.

        Raises:
            InputError: there is no run at ``path``.
        """
        if not (path / CONFIG).is_file():
            raise InputError(f"{path} is not a run folder: it holds no config.json")
        return cls(path)

    @classmethod
    def resume(cls, name: str, out: Path | None = None, several: bool = False) -> "RunFolder":
        """The folder ``out``, or the newest of ``runs/NAME/1``, ``2``, … here: to go on in.

        Args:
            several: whether it is the folder of several runs, each in a folder of its own in it.

        Raises:
            InputError: there is no such folder, or it holds something else.
        """
        if out is None:
            configs = (Path("runs") / name).glob("*/*/config.json" if several else "*/config.json")
            folders = (path.parents[1 if several else 0] for path in configs)
            numbered = [path for path in folders if path.name.isdecimal()]
            if not numbered:
                raise InputError(f"there is no run of {name} in runs/{name} to go on with")
            out = max(numbered, key=lambda path: int(path.name))
        if not out.is_dir():
            raise InputError(f"{out} does not exist, so there is no run to go on with")
        files = (p for p in out.rglob("*") if p.is_file() and not p.name.startswith(TEMPORARY))
        config = "*/config.json" if several else "config.json"
        if any(files) and not any(out.glob(config)):
            raise InputError(f"{out} is not a run folder: it holds no {config}")
        folder = cls(out)
        folder.refuse_links()
        return folder

    def begin(self, experiment: str, preset: str | None, knobs: Any, command: str) -> None:
        """Write ``config.json``, or find that it says the same but for the command.

        Raises:
            InputError: the folder holds a run of another experiment or of other knobs.
        """
        for leftover in self.path.rglob(f"{TEMPORARY}*"):  # of a process that was killed
            leftover.unlink(missing_ok=True)
        if self.has_begun:
            return self.check(experiment, knobs)
        write_json(
            self.path / CONFIG,
            {
                "experiment": experiment,
                "preset": preset,
                "knobs": knobs,
                "command": command,
                "versions": {
                    "saiki": version("saiki"),
                    "torch": version("torch"),
                    "python": platform.python_version(),
                },
            },
        )

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes from training in it.

        Raises:
            InputError: one does.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self.refuse_links()
        return locked(self.path / LOCK)

    def refuse_links(self) -> None:
        """Raise :class:`InputError` if there is a link in it: what is written through one lands
        elsewhere."""
        for here, folders, files in os.walk(self.path):
            for name in (*folders, *files):
                _refuse_link(Path(here, name))

    @property
    def of_answers(self) -> Path:
        """The folder in it of answers that are images or sounds.

        Raises:
            InputError: it is a link.
        """
        path = self.path / "predictions"
        _refuse_link(path)
        return path

    def extend(self, knobs: Mapping[str, Any]) -> None:
        """Have a run, perhaps a finished one, go on with these knobs."""
        config = self.config
        with self.locked():
            write_json(self.path / CONFIG, {**config, "knobs": dict(knobs)})
            (self.path / RESULT).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove what a run has written that came to nothing: there is no checkpoint."""
        for pattern in (CONFIG, "*.jsonl", "*.png", "tensorboard/*", "model.safetensors"):
            for path in self.path.glob(pattern):
                path.unlink()
        for path in (self.path / "tensorboard", *([self.path] if self.is_new else [])):
            with suppress(OSError):  # there is none, or something else is in it
                path.rmdir()

    @property
    def config(self) -> dict[str, Any]:
        return read_json(self.path / CONFIG)

    @property
    def settings(self) -> dict[str, Any]:
        """The experiment and its knobs, as the run recorded them."""
        config = self.config
        knobs = config.get("knobs")
        if "experiment" not in config or not isinstance(knobs, dict):
            raise InputError(f"{self.path / CONFIG} is not the record of a run")
        return {"experiment": config["experiment"], **knobs}

    def check(self, experiment: str, knobs: Any) -> None:
        """Raise :class:`InputError` if this is a run of another experiment or of other knobs."""
        recorded = self.config
        if recorded.get("experiment") != experiment:
            raise InputError(f"{self.path} holds a run of {recorded.get('experiment')}")
        if recorded.get("knobs") != knobs:
            raise InputError(f"{self.path} holds a run of other knobs")

    @property
    def has_begun(self) -> bool:
        return (self.path / CONFIG).is_file()

    @property
    def is_finished(self) -> bool:
        return (self.path / RESULT).is_file()

    @property
    def result(self) -> dict[str, Any]:
        """The final figures, a flat object."""
        path = self.path / RESULT
        result = read_json(path)
        stopped = result.get("stopped")
        if not all(_is_figure(v) for k, v in result.items() if k != "stopped"):
            raise InputError(f"{path} is damaged: it must hold numbers under their names")
        if "stopped" not in result or not (stopped is None or isinstance(stopped, str)):
            raise InputError(
                f"{path} is damaged: it must say under 'stopped' why it stopped, or null"
            )
        return result

    @property
    def trouble(self) -> str | None:
        """Why the training of a finished run stopped early, in one sentence, if it did."""
        stopped: str | None = self.result["stopped"]
        return stopped

    @property
    def figures(self) -> dict[str, float | None]:
        """The figures of a finished run."""
        return {name: value for name, value in self.result.items() if name != "stopped"}

    def write_result(self, result: dict[str, Any]) -> None:
        write_json(self.path / RESULT, result)

    def append(self, name: str, record: dict[str, Any]) -> None:
        """Add one line to ``metrics.jsonl`` or another log of this folder."""
        path = self.path / name
        try:
            with path.open("a", encoding="utf-8") as log:
                log.write(to_json(record) + "\n")
        except OSError as error:
            raise SaikiError(f"cannot write {path}: {error.strerror}") from error

    def points(self) -> list[dict[str, Any]]:
        """The points of the curves, lines of ``metrics.jsonl``: numbers under their names."""
        points = list(self.lines("metrics.jsonl"))
        for number, point in enumerate(points, 1):
            if not {"step", "loss"} <= set(point) or not all(map(_is_figure, point.values())):
                raise InputError(f"{self.path / 'metrics.jsonl'} is damaged at line {number}")
        return points

    def rewrite(self, name: str, records: Iterable[dict[str, Any]]) -> None:
        """Make a log hold these records, if there is one or anything to hold."""
        text = "".join(to_json(record) + "\n" for record in records)
        path = self.path / name
        if text or path.exists():
            write_text(path, text)

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """The records of ``metrics.jsonl`` or another log; none if there is no such file."""
        path = self.path / name
        if not path.exists():
            return
        for number, line in enumerate(read_text(path).splitlines(), 1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise InputError(f"{path} is damaged at line {number}")
            yield record


def _refuse_link(path: Path) -> None:
    if path.is_symlink():
        raise InputError(
            f"{path} is a link, and a run folder holds what is its own; put what it leads to in "
            "its place, or take it away"
        )


def _next(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    number = max((int(p.name) for p in parent.iterdir() if p.name.isdecimal()), default=0)
    while True:
        number += 1
        try:
            (parent / str(number)).mkdir()
        except FileExistsError:  # another run took the number in the meantime
            continue
        return parent / str(number)

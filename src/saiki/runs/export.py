"""The trained model of a run as files for other programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from saiki.export import onnx
from saiki.files import write
from saiki.runs.reopen import reopen


def export(folder: Path, path: Path) -> list[Path]:
    """Write the model of the run in ``folder`` as ONNX, in one file, or in one for each of its
    parts, ``NAME.PART.onnx`` for ``NAME.onnx``: all of them or none.

    Raises:
        InputError: there is no such run.
        ExportError: see :func:`saiki.export.onnx`.
    """
    experiment, model = reopen(folder)
    parts = [
        (path.with_suffix(f".{name}{path.suffix}") if name else path, *part)
        for name, part in experiment.exported(model).items()
    ]
    return _write(parts, experiment.metadata(model))


def _write(parts: Sequence[tuple[Path, nn.Module, Any]], metadata: Mapping[str, str]) -> list[Path]:
    """The first part is renamed when all others are there."""
    (path, module, example), *others = parts
    if not others:
        return [onnx(module, example, path, metadata)]
    written = list[Path]()

    def save(temporary: Path) -> None:
        onnx(module, example, temporary, metadata)
        written.extend(_write(others, metadata))

    return [write(path, save), *written]

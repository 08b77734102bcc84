"""The trained model of a run as files for other programs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from saiki.capabilities import Annotates, Exports, ExportsVectors
from saiki.export import onnx
from saiki.files import write
from saiki.runs.reopen import reopen
from saiki.text import vectors


def export(folder: Path, path: Path) -> list[Path]:
    """Write the model of the run in ``folder`` as ONNX, in one file, or in one for each of its
    parts, ``NAME.PART.onnx`` for ``NAME.onnx``: all of them or none.

    Raises:
        InputError: there is no such run.
        ExportError: see :func:`saiki.export.onnx`.
    """
    experiment, model = reopen(folder)
    exported: Mapping[str, tuple[nn.Module, Any]] = (
        experiment.exported(model)
        if isinstance(experiment, Exports)
        else {"": (model, experiment.data.example())}
    )
    parts = [
        (path.with_suffix(f".{name}{path.suffix}") if name else path, *part)
        for name, part in exported.items()
    ]
    return _write(parts, experiment.metadata(model) if isinstance(experiment, Annotates) else {})


def export_vectors(folder: Path, path: Path) -> tuple[Path, str]:
    """Write the word vectors of the run in ``folder``, see :func:`saiki.text.vectors.write`.

    Returns:
        The file, and what it does not hold, in one sentence, if there is anything.

    Raises:
        InputError: there is no such run, it is of another exercise, or the name of the file ends in
            nothing that is known.
        SaikiError: the file cannot be written.
    """
    experiment, model = reopen(folder)
    word_vectors, remark = ExportsVectors.of(experiment).vectors_of(model), ""
    vectors.write(word_vectors, path)
    if word_vectors.subwords and path.suffix != ".safetensors":
        remark = f"{path} holds no n-grams, of which unknown words are made; .safetensors does"
    return path, remark


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

"""Models as a folder of data: ``config.json`` and ``model.safetensors``, and no code."""

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor, nn

from saiki.errors import InputError, shown
from saiki.files import write_bytes, write_json
from saiki.inputs import open_file, read_json
from saiki.saving.description import Described, describe, make
from saiki.saving.tensors import load as load_checked

FORMAT = 1
"""Of the folder; a newer one is refused."""
CONFIG, WEIGHTS = "config.json", "model.safetensors"


class DescribedModule(Described, nn.Module, name="module.v1"):
    """A module that remembers how it was made, so that it can be saved as data."""

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the model as data; ``saiki.load(folder)`` makes it again. See
        :func:`saiki.pretrained.save`."""
        return save(self, folder)

    def __prepare_scriptable__(self) -> None:
        """TorchScript asks for what it can read in place of the module.

        Raises:
            InputError: always; it reads neither cells nor loops over them.
        """
        raise InputError(
            f"TorchScript cannot read {type(self).__name__}; saiki.export.onnx writes any model"
        )


def save(model: nn.Module, folder: str | Path) -> Path:
    """Write ``config.json``, how the model is made, and ``model.safetensors``, its weights.

    Parameters that are one tensor under several names are stored once. Each file is written whole
    or not at all, and the configuration holds the checksum of the weights it belongs to.

    Raises:
        InputError: the model, or an argument it was made with, cannot be said as data.
        SaikiError: the folder cannot be written.
    """
    if not isinstance(model, DescribedModule):
        raise InputError(
            f"{type(model).__name__} does not remember how it was made; models of saiki do, and "
            "cells, and the layers on them"
        )
    path = Path(folder)
    tensors, same = _once(model.state_dict())
    weights = save_bytes(tensors)
    config = {
        "format": FORMAT,
        "saiki": version("saiki"),
        "model": describe(model),
        "same": same,
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    write_bytes(path / WEIGHTS, weights)
    write_json(path / CONFIG, config)
    return path


def load(folder: str | Path, classes: Iterable[type] = ()) -> Any:
    """The model that :func:`save` wrote, or that a run in ``folder`` trained, its weights to the
    last bit, in evaluation mode.

    Args:
        classes: your own cells and models in it, where they have not been defined in this process.

    Raises:
        InputError: the folder is of a newer format, names a class that is unknown here, or its
            weights are damaged or do not fit.
    """
    path = Path(folder)
    config = read_json(path / CONFIG)
    if "experiment" in config:
        return of_run(path, classes)[0]
    if not {"format", "model", "sha256"} <= set(config):
        raise InputError(f"{path / CONFIG} does not describe a model of saiki")
    if config["format"] != FORMAT:
        raise InputError(
            f"{path} is of format {config['format']}, and this saiki reads format {FORMAT}; it was "
            f"written by saiki {config.get('saiki', 'of an unknown version')}"
        )
    tensors = _read(path / WEIGHTS, config["sha256"])
    same = config.get("same", {})
    if not isinstance(same, dict):
        raise InputError(f"{path / CONFIG} must say under 'same' which names are one tensor")
    for name, first in same.items():
        if not isinstance(first, str) or first not in tensors:
            raise InputError(f"{path / CONFIG} says that {name} is {first}, which is not there")
        tensors[name] = tensors[first]
    try:
        model = make(config["model"], classes)
    except InputError as error:
        raise InputError(f"{path / CONFIG}: {error}") from None
    if not isinstance(model, nn.Module):
        raise InputError(f"{path / CONFIG} describes {model!r}, which is not a model")
    fill(model, tensors, path)
    return model.eval()


def of_run(folder: str | Path, classes: Iterable[type] = ()) -> tuple[nn.Module, dict[str, Any]]:
    """The model that a run trained, in evaluation mode, and what its file says of the run.

    Args:
        classes: as of :func:`load`.

    Raises:
        InputError: the training did not end, or the file is damaged.
    """
    folder = Path(folder)
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"{folder} holds no {WEIGHTS}: its training did not end")
    kept, about = load_checked(folder / WEIGHTS)
    if "model" not in about:
        raise InputError(f"{folder / WEIGHTS} does not say how its model is made")
    model = make(about["model"], classes)
    if not isinstance(model, nn.Module):
        raise InputError(f"{folder / WEIGHTS} describes {shown(model)}, which is not a model")
    fill(model, kept, folder / WEIGHTS)
    return model.eval(), about


def _once(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Each tensor under its first name; the other names, and which one each repeats."""
    first: dict[tuple[Any, ...], str] = {}
    tensors, same = {}, {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and key in first:
            same[name] = first[key]
        else:
            first[key] = name
            tensors[name] = tensor.detach().cpu().contiguous().clone()
    return tensors, same


def _read(path: Path, checksum: str) -> dict[str, Tensor]:
    with open_file(path) as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != checksum:
        raise InputError(f"{path} is not what was saved with its {CONFIG}: the checksums differ")
    try:
        return load_bytes(data)
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}") from None


@torch.no_grad()
def fill(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Give ``model`` the weights ``tensors``, in their own precision.

    Raises:
        InputError: they do not fit; ``path`` is where they came from.
    """
    state = model.state_dict(keep_vars=True)
    if set(state) != set(tensors):
        missing, unknown = sorted(set(state) - set(tensors)), sorted(set(tensors) - set(state))
        raise InputError(
            f"{path} does not fit its model: missing {missing or 'nothing'}, "
            f"unknown {unknown or 'nothing'}"
        )
    for name, tensor in state.items():
        if tensor.shape != tensors[name].shape:
            raise InputError(
                f"{path} does not fit its model: {name} has the shape {tuple(tensors[name].shape)} "
                f"instead of {tuple(tensor.shape)}"
            )
    for name, tensor in state.items():
        tensor.data = tensor.data.to(tensors[name].dtype)
        tensor.copy_(tensors[name])

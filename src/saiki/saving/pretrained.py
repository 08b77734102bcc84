"""Models as a folder of data: ``config.json`` and ``model.safetensors``, and no code."""

import hashlib
import warnings
from collections.abc import Iterable, Mapping
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
from saiki.saving.description import Described, at_most, describe, is_own, make
from saiki.saving.tensors import load as load_checked

FORMAT = 1
"""Of the folder; a newer one is refused."""
CONFIG, WEIGHTS = "config.json", "model.safetensors"
MOST_BESIDE = 2**28
"""Bytes of what a model holds beside its weights, such as windows and grids."""
MOST_EMPTY = 1000
"""Modules that hold no weights of their own."""


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
    return _filled(config["model"], classes, tensors, path / CONFIG)


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
    tensors, about = load_checked(folder / WEIGHTS)
    if "model" not in about:
        raise InputError(f"{folder / WEIGHTS} does not say how its model is made")
    types = {str(t.dtype) for t in tensors.values() if t.is_floating_point()}
    if len(types) > 1:
        raise InputError(
            f"{folder / WEIGHTS} must hold numbers of one type, as a training leaves them, got "
            f"{' and '.join(sorted(types))}"
        )
    model = _filled(about["model"], classes, tensors, folder / WEIGHTS)
    return model, about


def _filled(
    description: Any, classes: Iterable[type], tensors: dict[str, Tensor], path: Path
) -> nn.Module:
    """The model of a description with its weights, in evaluation mode.

    First it is made without memory, and its shapes are compared with what is stored: whatever a
    description asks for, no more is taken than is stored. Constructors of a user's own may look at
    their numbers, so a model that needs one is made at once.

    Args:
        path: where the description stands.
    """
    try:
        if is_own(description, classes):
            few = at_most(2 * len(tensors) + MOST_EMPTY)
            with torch.device("meta"), few, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # which are of numbers, and there are none yet
                _check(make(description), tensors)
        model: nn.Module = _check(make(description, classes), tensors)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    fill(model, tensors)
    return model.eval()


def _check(model: Any, tensors: Mapping[str, Tensor]) -> nn.Module:
    """The model, if it is one and has the tensors of these names, shapes and kinds of numbers.

    Raises:
        InputError: it is not.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"it describes {shown(model)}, which is not a model")
    state = model.state_dict()
    if set(state) != set(tensors):
        missing, unknown = sorted(set(state) - set(tensors)), sorted(set(tensors) - set(state))
        raise InputError(
            f"the weights do not fit the model: missing {shown(missing or 'nothing')}, "
            f"unknown {shown(unknown or 'nothing')}"
        )
    for name, tensor in state.items():
        if tensor.shape != tensors[name].shape:
            raise InputError(
                f"the weights do not fit the model: {name} has the shape "
                f"{tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
            )
        if _kind(tensor) != _kind(tensors[name]):
            raise InputError(
                f"the weights do not fit the model: {name} holds numbers of the type "
                f"{tensors[name].dtype} instead of {tensor.dtype}"
            )
    others_size = sum(b.nbytes for n, b in model.named_buffers() if n not in state)
    if others_size > MOST_BESIDE:
        raise InputError(
            f"the model asks for {others_size / 2**30:.3g} GiB beside its weights, more than "
            "models need"
        )
    return model


def _kind(tensor: Tensor) -> Any:
    """The precision of numbers with a point may be another one than the model is made with."""
    if tensor.is_floating_point() or tensor.is_complex():
        return tensor.is_complex()
    return tensor.dtype


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
def fill(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give ``model`` the weights ``tensors``, which fit it, in their own precision."""
    for name, tensor in model.state_dict(keep_vars=True).items():
        tensor.data = tensor.data.to(tensors[name].dtype)
        tensor.copy_(tensors[name])

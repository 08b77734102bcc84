"""What a ``.weights.h5`` file of Keras 3 holds: arrays under paths, and no settings.

A ``.keras`` file is a zip archive with such a file in it; what else it holds, the configuration of
the model, may name code, and is left unread. A file of weights names a layer after its class and
its turn among layers of that class, not after the layer's own name, which newer ones note beside
the arrays::

    layers/lstm_1/cell/vars/0                       kernel, (in, gates · hidden)
    layers/lstm_1/cell/vars/1                       recurrent kernel, (hidden, gates · hidden)
    layers/lstm_1/cell/vars/2                       bias
    layers/bidirectional/forward_layer/cell/vars/0  and backward_layer
    layers/rnn/cell/cells/gru_cell_1/vars/0         the second GRUCell of an RNN of several cells

So the order is known among layers of one class, and not between classes.
"""

import importlib
import io
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from saiki.errors import InputError
from saiki.inputs import open_file, open_zip

_ARRAY = re.compile(r"(?P<cell>(?:.+/)?(?:cell|cells/[^/]+))/vars/(?P<index>\d+)")
_WEIGHTS = "model.weights.h5"
_KINDS = {1: "SimpleRNN", 3: "GRU", 4: "LSTM"}


@dataclass(frozen=True)
class Saved:
    """A layer of the file: its kind as saiki calls it, and its arrays or its parts.

    The parts of a ``"Bidirectional"`` are forward and backward, those of a ``"Stack"`` are sorted
    by kind, and within one kind from the lowest.
    """

    path: str
    name: str | None
    kind: str
    parts: tuple["Saved", ...] = ()
    arrays: tuple[np.ndarray, ...] = ()

    def __str__(self) -> str:
        parts = f" of {', '.join(part.kind for part in self.parts)}" if self.parts else ""
        name = f", {self.name!r}" if self.name else ""
        return f"{self.path} ({self.kind}{parts}{name})"


def read(path: Path) -> dict[str, Saved]:
    """Every recurrent layer of the file by its path; ``/`` is a whole model of several.

    Raises:
        InputError: the file is missing or broken, holds no recurrent layer, or h5py is missing.
    """
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        raise InputError(f"reading {path} needs h5py: pip install 'saiki[keras]'") from None
    arrays: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
    names: dict[str, str] = {}

    def visit(name: str, item: Any) -> None:
        if name.endswith("vars") and isinstance(item.attrs.get("name"), str):
            names[name.removesuffix("vars").rstrip("/")] = item.attrs["name"]
        match = _ARRAY.fullmatch(name)
        if match and isinstance(item, h5py.Dataset):
            if item.dtype.kind in "OSUV" and item.attrs.get("dtype") != "bfloat16":
                raise InputError(f"{name} holds text or records where numbers should be")
            array = _array(item)
            if array is not None:
                arrays[match["cell"]][int(match["index"])] = array

    if not path.exists():
        raise InputError(f"{path} does not exist")
    with _weights_in(path) as weights:
        try:
            with h5py.File(weights, "r") as file:
                file.visititems(visit)  # which follows no link out of the file
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path} cannot be read as a .weights.h5 file: {reason}") from None
    layers = _layers(arrays, names)
    if not layers:
        raise InputError(f"{path} holds no recurrent layer as save_weights of Keras 3 writes it")
    return layers


@contextmanager
def _weights_in(path: Path) -> Iterator[IO[bytes]]:
    """The file of weights, which in a ``.keras`` file is a member of an archive."""
    if path.suffix != ".keras":
        with open_file(path) as file:
            yield file
        return
    with open_zip(path) as archive:
        if _WEIGHTS not in archive.namelist():
            raise InputError(f"{path} holds no {_WEIGHTS}, as model.save of Keras 3 writes it")
        weights = io.BytesIO(archive.read(_WEIGHTS))
    yield weights


def _array(item: Any) -> np.ndarray | None:
    """The numbers of a plain array; None for what Keras does not write, such as one elsewhere."""
    if item.external or item.is_virtual or item.id.get_storage_size() < item.nbytes:
        return None
    value = np.asarray(item[()])
    if item.attrs.get("dtype") == "bfloat16":  # the upper half of a float32
        return (value.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    return value if value.dtype.kind == "f" else None


def _layers(arrays: dict[str, dict[int, np.ndarray]], names: dict[str, str]) -> dict[str, Saved]:
    layers: dict[str, Saved] = {}

    def add(path: str, kind: str, **content: Any) -> None:
        layers[path or "/"] = Saved(path or "/", names.get(path), kind, **content)

    for path, by_index in arrays.items():
        values = tuple(by_index[i] for i in sorted(by_index))
        kind = _kind(values)
        if kind:
            add(path.removesuffix("/cell"), kind, arrays=values)
    for path in list(layers):
        parent, _, last = path.rpartition("/")
        if last == "forward_layer" and f"{parent}/backward_layer" in layers:
            add(parent, "Bidirectional", parts=(layers[path], layers[f"{parent}/backward_layer"]))
    steps = [path.split("/") for path in layers]
    containers = {
        "/".join(step[:i])
        for step in steps
        for i in range(1, len(step))
        if step[i - 1] in ("layers", "cells")
    }
    for container in sorted(containers, key=len, reverse=True):  # the inner ones first
        members = sorted(
            (saved.kind, *_turn(path), path)
            for path, saved in layers.items()
            if path.rpartition("/")[0] == container
        )
        classes = {(kind, of_class) for kind, of_class, *_ in members}
        if members and len(classes) == len({kind for kind, _ in classes}):  # their order is known
            owner = container.removesuffix("layers").removesuffix("cell/cells").rstrip("/")
            add(owner, "Stack", parts=tuple(layers[path] for *_, path in members))
    return layers


def _kind(arrays: tuple[np.ndarray, ...]) -> str | None:
    """The family whose kernel, recurrent kernel and bias could have these shapes."""
    if len(arrays) not in (2, 3) or arrays[0].ndim != 2 or arrays[1].ndim != 2:
        return None
    hidden, width = arrays[1].shape
    if hidden == 0 or arrays[0].shape[1] != width or width % hidden:
        return None
    return _KINDS.get(width // hidden)


def _turn(path: str) -> tuple[str, int]:
    """``("lstm", 1)`` for ``layers/lstm_1``, the second of its class."""
    match = re.fullmatch(r"(.+?)(?:_(\d+))?", path.rpartition("/")[2])
    assert match is not None
    return match[1], int(match[2] or 0)

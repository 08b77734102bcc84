"""Named tensors and what there is to say about them, in one file: checked, and without code.

The format is safetensors. Its header holds the words, as JSON, and a checksum of everything.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from saiki.errors import InputError
from saiki.files import write_bytes
from saiki.inputs import open_file

Contents = tuple[dict[str, Tensor], dict[str, Any]]


def save(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> Path:
    """Write ``tensors`` and ``about``, which JSON can say, whole or not at all.

    Raises:
        SaikiError: the file cannot be written.
    """
    own = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    words = json.dumps(dict(about), ensure_ascii=False)  # with NaN and Infinity, unlike to_json
    # under one name: the order of several would change from file to file
    header = json.dumps({"about": words, "sha256": _checksum(own, words)})
    data = to_bytes(own, {"saiki": header})
    return write_bytes(path, data)


def load(path: Path) -> Contents:
    """What :func:`save` wrote, read into its place: it takes no memory beside the tensors.

    Raises:
        InputError: there is no such file, or it is not, to the last bit, what was written.
    """
    try:
        with open_file(path) as file, _damaged(path), safe_open(path, "pt") as mapped:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            metadata, tensors = header.pop("__metadata__"), {}
            # one after the other, as they lie in the file
            for name in sorted(header, key=lambda name: header[name]["data_offsets"]):
                tensors[name] = torch.empty_like(mapped.get_tensor(name))
                file.readinto(_bytes(tensors[name]))
            return _checked(tensors, metadata, path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None


def parse(data: bytes, path: Path) -> Contents:
    """The contents of a file; ``path`` is where errors say it is."""
    with _damaged(path):
        tensors = from_bytes(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
        return _checked(tensors, metadata, path)


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """Have a file that is none of ours be told in a sentence."""
    try:
        yield
    except InputError:
        raise
    except (
        SafetensorError,
        ValueError,
        LookupError,
        RecursionError,
        RuntimeError,
        TypeError,
    ) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is damaged or was not written by saiki: {reason}") from None


def _checked(tensors: dict[str, Tensor], metadata: Mapping[str, str], path: Path) -> Contents:
    header = json.loads(metadata["saiki"])
    words, checksum = header["about"], header["sha256"]
    about = json.loads(words)
    if not isinstance(about, dict) or checksum != _checksum(tensors, words):
        raise InputError(f"{path} is damaged: it does not hold what was written")
    return tensors, about


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _checksum(tensors: Mapping[str, Tensor], words: str) -> str:
    digest = hashlib.sha256(words.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()

"""Which functions that are no code of a user's give the same answer each time they are asked.

What a step calls in Python, PyTorch and NumPy is either known to make its answer of what it is
given alone, or it is refused: a list of what asks the machine, the process or a setting could not
be complete. Of other packages, functions in Python are followed by the names that they read.
"""

import builtins
import sys
import types
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from saiki.compiler.watch.code import HIDDEN, UNFOLLOWED, UNWATCHED
from saiki.compiler.watch.whose import is_changeable, is_installed

_PURE = {
    "builtins", "math", "cmath", "operator", "itertools", "functools", "collections", "bisect",
    "heapq", "struct", "array", "re", "sre", "string", "textwrap", "json", "binascii", "base64",
    "zlib", "hashlib", "unicodedata", "abc", "py_abc", "types", "typing", "enum", "dataclasses",
    "copy", "copyreg", "contextlib", "contextvars", "numbers", "fractions", "statistics",
    "reprlib", "keyword", "graphlib", "colorsys", "weakref", "weakrefset", "difflib", "pathlib",
    "posixpath", "ntpath", "genericpath", "shlex", "fnmatch", "collections_abc", "configparser",
    "pprint", "ast", "typing_extensions",
}  # fmt: skip
"""Modules of Python that hold no settings, without the underscore of those that serve them."""
_FROZEN = "importlib._bootstrap"
"""What runs when a module that is loaded is imported."""
_TENSORS = {"_nn", "_special", "_linalg", "_fft", "_sparse", "_nested"}
"""Modules of PyTorch's C functions that compute."""
_OF_TORCH = (
    "torch.nn", "torch.functional", "torch._tensor", "torch.overrides", "torch.autograd",
    "torch._jit_internal", "torch._VF", "torch.distributions", "torch.func", "torch._functorch",
    "torch.utils", "torch._subclasses", "torch._guards", "torch._ops", "torch._library",
    "torch._higher_order_ops", "torch.library", "torch.amp", "torch._refs",
    "torch._prims_common", "torch.masked", "torch.special", "torch.linalg", "torch.fft",
    "torch.profiler", "torch.compiler", "torch._compile", "torch._dynamo", "torch._C",
    "torch.jit._trace", "torch.jit._script", "torch.types", "torch._utils", "torch.random",
    "torch._linalg_utils", "torch.fx", "torch.torch_version", "torch._lowrank", "torch.ao",
    "torch.quantization",
)  # fmt: skip
"""Modules of PyTorch whose functions compute, or set a mode for a while."""
_IN_TORCH = {"is_tensor", "is_storage", "typename", "sym_float", "sym_int", "sym_max", "sym_min",
             "sym_not", "get_default_dtype", "_check", "_check_is_size", "compile",
             "are_deterministic_algorithms_enabled"}  # fmt: skip
"""Functions of PyTorch itself that do, and such as ask what is watched."""
_OF_NUMPY = ("core", "lib", "linalg", "fft", "polynomial", "ma", "matrixlib")
"""Parts of NumPy that compute."""
_NOT_OF_NUMPY = {
    "npyio", "format", "datasource", "arrayprint", "ufunc_config", "printoptions", "memmap",
    "records", "fromfile",
}  # fmt: skip
"""Modules and functions in them that ask files and settings."""
_HIDDEN = HIDDEN | {"hash"}
_GUARDS = {"get_ident", "__enter__", "__exit__", "acquire", "release"}
"""What functions of Python call so that threads and objects in themselves do no harm."""
_CLOCK = {"now", "utcnow", "today", "fromtimestamp", "utcfromtimestamp", "astimezone", "timestamp"}
_READ = {"getattr", "hasattr", "vars", "dir", "format", "format_map", "__getattribute__", "__dir__",
         "__reduce__", "__reduce_ex__", "__getstate__"}  # fmt: skip
"""Functions of Python in C that read attributes whose names they are given."""


def is_reader(function: Any) -> bool:
    """Whether a C function may read any attribute of what it is given."""
    return function.__name__ in _READ and _module_of(function) == "builtins"


def why_not_called(function: Any, is_by_user: bool) -> str:
    """Why a step must not call a function that is written in C; empty if it may."""
    module = _module_of(function)
    root = module.partition(".")[0]
    name = function.__name__
    if root == "torch" or isinstance(getattr(function, "__self__", None), Tensor):
        fits = not is_by_user or _is_of_tensors(function)
    elif root == "numpy":
        fits = not is_by_user or _is_pure_in_numpy(f"{module}.{name}")
    elif root == "builtins":
        hidden = is_by_user and name in _HIDDEN and function is getattr(builtins, name)
        fits = not hidden and name not in UNFOLLOWED
    elif root == "datetime":
        fits = name not in _CLOCK
    elif root == "sys":
        fits = name == "intern"
    else:
        shown = name in _GUARDS and not is_by_user
        fits = shown or (root.lstrip("_") in _PURE and name != "copy_context")
    return "" if fits else f"calls {name}{_of(module)}, {_why(module)}"


def why_not_made(cls: type) -> str:
    """Why a step must not know a class that is written in C, since nothing tells whether it makes
    objects of it; empty if it may."""
    module = str(cls.__module__)
    root = module.partition(".")[0]
    named = (root in UNWATCHED and root != "datetime") or module.startswith("numpy.random")
    in_c = not is_changeable(cls) and root not in {"torch", "numpy", "datetime"}
    if named or (in_c and root.lstrip("_") not in _PURE):
        return f"knows {cls.__name__}{_of(module)}, {_why(module)}"
    return ""


def why_not_run(code: types.CodeType, module: str) -> str:
    """Why a step must not run a function of an installed package; empty if it may."""
    root = module.partition(".")[0]
    if root == "torch":
        fits = _is_pure_in_torch(module, code.co_name)
    elif root == "numpy":
        fits = _is_pure_in_numpy(f"{module}.{code.co_name}")
    elif root in sys.stdlib_module_names:
        fits = module == _FROZEN or root.lstrip("_") in _PURE
        unfollowed = sorted(UNFOLLOWED.intersection(code.co_names))
        if fits and unfollowed:
            return f"runs {code.co_name} of {module}, which may read {unfollowed[0]}"
    else:
        fits = True
    return "" if fits else f"runs {code.co_name} of {module}, {_why(module)}"


@lru_cache(maxsize=256)
def _is_pure_in_torch(module: str, name: str) -> bool:
    if module == "torch":
        return name in _IN_TORCH
    if module == "torch.distributions.kl":  # which looks into a table
        return False
    return any(module == each or module.startswith(each + ".") for each in _OF_TORCH)


@lru_cache(maxsize=256)
def _is_pure_in_numpy(path: str) -> bool:
    parts = [part.strip("_").removesuffix("_impl") for part in path.split(".")[1:]]
    return parts[0] in _OF_NUMPY and not _NOT_OF_NUMPY.intersection(parts)


def _is_of_tensors(function: Any) -> bool:
    owner = getattr(function, "__self__", None)
    if isinstance(owner, types.ModuleType):
        fits = owner.__name__.rpartition(".")[2] in _TENSORS
    else:
        is_method = owner is not None or hasattr(function, "__objclass__")
        fits = is_method or hasattr(torch._C._VariableFunctions, function.__name__)
    return (fits and function.__name__ != "from_file") or function.__name__ in _IN_TORCH


def _module_of(function: Any) -> str:
    """The module of a C function, or of the class in C whose method it is."""
    owner = getattr(function, "__self__", None)
    if owner is None:
        owner = getattr(function, "__objclass__", None)
    if isinstance(owner, types.ModuleType):
        return owner.__name__
    if owner is None:
        return str(function.__module__ or "builtins")
    cls = owner if isinstance(owner, type) else type(owner)
    bases = [base for base in cls.__mro__ if is_installed(base) and base is not object]
    return str((*bases, object)[0].__module__)


def _of(module: str) -> str:
    return "" if module == "builtins" else f" of {module}"


def _why(module: str) -> str:
    root = "random" if module.startswith("numpy.random") else module.partition(".")[0]
    return UNWATCHED.get(root, "whose answers are not watched")

"""Benchmarks: ours and the peers' do the same work in turn, in one run.

A benchmark is a module with a generator ``rows``, whose arguments are its options, and, where
there is more to say of all rows together, a function ``summary`` of them. Those of layers lie
here, those of exercises in ``benchmarks/``, beside the source.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

from saiki.errors import InputError, near

SOURCE = Path(__file__).parents[3]
BENCHMARKS = {
    "cells": "a training step of layers, beside other libraries",
    "grid": "saiki.nn beside torch.nn at many shapes",
    "layers": "saiki.nn beside saiki.Recurrent, and ragged batches",
    "corpus": "cells of the literature, beside the eager loop",
    "scaling": "what the figures of the grid say of more cores",
    "memory": "what remains of many shapes, and of layers that are gone",
    "adder": "training the adder, beside a script in NumPy",
    "spoken-digits": "epochs of it, beside Keras",
    "translate": "training steps of it, beside torch.nn",
    "decoding": "sentences of a run of translate, together and alone",
    "dialogue": "updates of it, beside torch.nn",
    "forecast-updates": "updates of it, beside torch.nn",
    "forecast-laws": "laws of the next value, beside darts",
    "etth1": "its errors on ETTh1, beside published ones",
    "linear-forecast": "the linear map on ETTh1, beside DLinear",
    "random-walks": "how often chance is taken for a forecast",
    "vae": "what it learns, beside plain PyTorch and pythae",
    "quantiser": "quantisers, beside vector-quantize-pytorch",
    "long-inputs": "what predict takes for inputs of any length",
}
"""What each measures."""
OF_LAYERS = {"cells", "grid", "layers"}
"""Those that come with saiki."""


def load(name: str) -> ModuleType:
    """The module of a benchmark.

    Raises:
        InputError: there is no such benchmark, or what it needs is not here.
    """
    if name not in BENCHMARKS:
        known = ", ".join(BENCHMARKS)
        raise InputError(
            f"there is no benchmark {name!r}; there are {known}{near(name, BENCHMARKS)}"
        )
    if name in OF_LAYERS:
        return importlib.import_module(f"saiki.bench.{name}")
    if not (SOURCE / "benchmarks").is_dir():
        raise InputError(f"the benchmark {name} lies beside the source of saiki, which is not here")
    if str(SOURCE) not in sys.path:
        sys.path.append(str(SOURCE))
    try:
        return importlib.import_module(f"benchmarks.{name.replace('-', '_')}")
    except ModuleNotFoundError as error:
        raise InputError(f"the benchmark {name} needs the package {error.name}") from None

"""Two processes with 16 rows each learn the codes that one learns from all 32."""

import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

SCRIPT = """
import sys
import torch
from safetensors.torch import save_file
from saiki import processes
from saiki.nn import VectorQuantizer

HOW = [
    dict(size=4, codes=24, decay=0.6),
    dict(size=4, codes=8, heads=2, stages=2, decay=0.6),
    dict(size=4, codes=24, cosine=True, decay=0.3, kmeans=False),
    dict(size=4, codes=24, learning="gradient", gradient="rotation", decay=0.3),
]
with processes.joined():
    for i, how in enumerate(HOW):
        torch.manual_seed(0)
        quantizer = VectorQuantizer(**how).double()
        random = torch.Generator().manual_seed(1)
        z = torch.randn(5, 32, 3, 4, dtype=torch.float64, generator=random)
        found = []
        for batch in z:
            torch.rand(processes.rank())  # whatever each has drawn
            y = quantizer(batch[processes.part(32)])
            found += [y.usage, y.perplexity]
            if list(quantizer.parameters()):
                y.loss.backward()
                for p in quantizer.parameters():
                    p.data -= processes.total(p.grad) / processes.count()
                    p.grad = None
        tensors = dict(quantizer.state_dict(), found=torch.stack(found))
        save_file(tensors, f"{sys.argv[1]}-{i}-{processes.rank()}")
"""


def run(folder, processes):
    (folder / "script.py").write_text(SCRIPT)
    words = [str(folder / "script.py"), str(folder / str(processes))]
    if processes > 1:
        words = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    run(folder, 1)
    run(folder, 2)
    return folder


@pytest.mark.parametrize("how", range(4))
def test_two_processes_are_one(how, folder):
    one, *two = (load_file(folder / f"{name}-{how}-{rank}") for name, rank in ("10", "20", "21"))
    for name, value in one.items():
        for each in two:
            assert torch.allclose(each[name].double(), value.double(), atol=1e-9), name
    assert torch.equal(two[0]["stages.0.vectors"], two[1]["stages.0.vectors"])
    assert one["stages.0.updates"] == 5

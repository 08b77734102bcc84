"""Two processes with 16 rows each learn the codes that one learns from all 32."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from forked import together
from saiki import processes
from saiki.nn import VectorQuantizer

HOW = [
    {"size": 4, "codes": 24, "decay": 0.6},
    {"size": 4, "codes": 8, "heads": 2, "stages": 2, "decay": 0.6},
    {"size": 4, "codes": 24, "cosine": True, "decay": 0.3, "kmeans": False},
    {"size": 4, "codes": 24, "learning": "gradient", "gradient": "rotation", "decay": 0.3},
]


def learn(path):
    with processes.joined():
        for i, how in enumerate(HOW):
            torch.manual_seed(0)
            quantizer = VectorQuantizer(**how).double()
            random = torch.Generator().manual_seed(1)
            z = torch.randn(5, 32, 3, 4, dtype=torch.float64, generator=random)
            figures = []
            for batch in z:
                torch.rand(processes.rank())  # whatever each has drawn
                y = quantizer(batch[processes.part(32)])
                figures += [y.usage, y.perplexity]
                if list(quantizer.parameters()):
                    y.loss.backward()
                    for p in quantizer.parameters():
                        p.data -= processes.total(p.grad) / processes.count()
                        p.grad = None
            tensors = dict(quantizer.state_dict(), found=torch.stack(figures))
            save_file(tensors, f"{path}-{i}-{processes.rank()}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    for count in (1, 2):
        together(count, learn, str(folder / str(count)))
    return folder


@pytest.mark.parametrize("how", range(4))
def test_two_processes_are_one(how, folder):
    one, *two = (load_file(folder / f"{name}-{how}-{rank}") for name, rank in ("10", "20", "21"))
    for name, value in one.items():
        for each in two:
            assert torch.allclose(each[name].double(), value.double(), atol=1e-9), name
    assert torch.equal(two[0]["stages.0.vectors"], two[1]["stages.0.vectors"])
    assert one["stages.0.updates"] == 5

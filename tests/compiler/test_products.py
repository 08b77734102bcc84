"""Products outside the loops are those of PyTorch, whoever multiplies."""

import time

import pytest
import torch

from saiki.cells import LSTM
from saiki.compiler import products
from saiki.recurrent import Recurrent

WAYS = {"as it is": None, "mkl": False}
if hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.mkldnn.is_available():
    WAYS["onednn"] = True


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def way(request, monkeypatch):
    if request.param is not None:
        monkeypatch.setattr(products, "_onednn_is_faster", lambda: request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [(1, 1, 1), (3, 5, 7), (130, 64, 256), (257, 300, 90)])
@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
def test_a_product_is_the_product(way, size, turned, dtype):
    m, k, n = size
    a, b = torch.randn(m, k, dtype=torch.float64), torch.randn(k, n, dtype=torch.float64)
    given = [
        (x.T.contiguous().T if name in turned else x).to(dtype) for name, x in (("a", a), ("b", b))
    ]
    expected = given[0].double() @ given[1].double()
    found = products.product(*given)
    assert found.dtype == dtype
    assert found.is_contiguous()
    error = {torch.float32: 1e-4, torch.float64: 1e-11, torch.bfloat16: 0.3}[dtype]
    torch.testing.assert_close(found.double(), expected, atol=error, rtol=0)
    assert torch.equal(found, products.product(*given))


@pytest.mark.parametrize("turned", ["", "a", "b", "ab"])
def test_parts_of_larger_matrices_are_multiplied_as_fast(way, turned):
    whole = {name: torch.randn(700, 700) for name in "ab"}
    parts = {n: (w.T if n in turned else w)[100:400, 200:500] for n, w in whole.items()}
    a, b = parts.values()
    torch.testing.assert_close(products.product(a, b), a @ b, atol=1e-3, rtol=0)
    seconds = []
    for multiply in (torch.mm, products.product):
        started = time.perf_counter()
        for _ in range(3):
            multiply(a, b)
        seconds.append(time.perf_counter() - started)
    assert seconds[1] < 50 * seconds[0]  # the slow kernels take a thousand times as long


def test_a_large_layer_agrees_with_its_eager_loop_whoever_multiplies(way):
    layer = Recurrent(LSTM(96, 128), backend="cpu")
    x = torch.randn(16, 20, 96, requires_grad=True)
    found = []
    for one in (layer, Recurrent(layer.cell, backend="eager")):
        y, _ = one(x)
        gradients = torch.autograd.grad(y.square().sum(), [x, *layer.cell.parameters()])
        found.append((y, *gradients))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-4)

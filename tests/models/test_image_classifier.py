"""The classifier of images."""

import numpy as np
import pytest
import torch

import saiki
from saiki.models.image_classifier import ImageClassifier


def by_hand(model, x):
    """The equations, in NumPy and float64."""
    z = 2 * x.double().numpy() - 1
    for i in range(0, len(model.blocks), 4):
        w = model.blocks[i].weight.detach().double().numpy()
        norm = model.blocks[i + 1]
        padded = np.pad(z, ((0, 0), (0, 0), (1, 1), (1, 1)))
        views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
        z = np.einsum("bchwij,ocij->bohw", views, w)
        groups = z.reshape(len(z), -1, 4, *z.shape[2:])
        mean, variance = (f(groups, axis=(2, 3, 4), keepdims=True) for f in (np.mean, np.var))
        z = ((groups - mean) / np.sqrt(variance + norm.eps)).reshape(z.shape)
        z = z * norm.weight.detach().numpy()[:, None, None]
        z = np.maximum(z + norm.bias.detach().numpy()[:, None, None], 0)
        high, wide = -(-z.shape[2] // 2) * 2, -(-z.shape[3] // 2) * 2
        rest = ((0, 0), (0, 0), (0, high - z.shape[2]), (0, wide - z.shape[3]))
        z = np.pad(z, rest, constant_values=-np.inf)
        z = z.reshape(*z.shape[:2], high // 2, 2, wide // 2, 2).max((3, 5))
    w, b = (p.detach().double().numpy() for p in model.readout.parameters())
    return z.reshape(len(z), -1) @ w.T + b


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 7), (3, 1, 1), (1, 5, 16)])
def test_it_computes_its_equations_for_images_of_any_size(shape):
    torch.manual_seed(0)
    model = ImageClassifier(["a", "b", "c"], shape, width=8, dropout=0.5).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.rand(3, *shape)
    v = model(x)
    assert v.shape == (3, 3)
    np.testing.assert_allclose(v.detach(), by_hand(model, x), atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(model(x[1:2]), v[1:2])  # whatever else is in the batch


def test_it_is_saved_and_loaded(tmp_path):
    model = ImageClassifier(["猫", "犬"], (3, 8, 8), width=4)
    model.save_pretrained(tmp_path / "model")
    restored = saiki.load(tmp_path / "model")
    assert restored.classes == ("猫", "犬")
    assert restored.shape == (3, 8, 8)
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(model.eval()(x), restored.eval()(x))


def test_it_is_exported_with_the_batch_open_and_the_size_fixed(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = ImageClassifier(["a", "b"], (1, 28, 28), width=4)
    path = saiki.export.onnx(model, torch.zeros(2, 1, 28, 28), tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[1:] == [1, 28, 28]

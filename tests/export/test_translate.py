"""What PyTorch's exporter knows to translate: read once, and each export adds its own to a copy."""

import torch
from torch.onnx._internal.exporter import _registration

from saiki import export, torch_internals


class Line(torch.nn.Module):
    def forward(self, x):
        return 2 * x + 1


def test_the_translations_are_read_once_and_stay_as_they_were(tmp_path, monkeypatch):
    kind, read = _registration.ONNXRegistry, []
    operators = _registration.onnxscript_apis.get_torchlib_ops
    monkeypatch.setattr(
        _registration.onnxscript_apis, "get_torchlib_ops", lambda: read.append(1) or operators()
    )
    monkeypatch.setattr(torch_internals, "_translations", {})
    original = kind.__dict__["from_torchlib"]
    for name in ("a", "b"):
        export.onnx(Line(), torch.randn(2, 3), tmp_path / f"{name}.onnx")
        assert kind.__dict__["from_torchlib"] is original
    assert len(read) == 1
    [known] = torch_internals._translations.values()
    assert not any(way.is_custom for ways in known.functions.values() for way in ways)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()

"""Models to ONNX files and back."""

from saiki.export.functions import Clipped, OnnxFunction
from saiki.export.reader import load_onnx
from saiki.export.writer import onnx

__all__ = ["Clipped", "OnnxFunction", "load_onnx", "onnx"]

"""Models as data: what describes them, their tensors, and the folders that hold both."""

from saiki.saving import pretrained

__all__ = ["pretrained"]

"""The training engine that all experiments share."""

from saiki.training.loop import Stopped, train

__all__ = ["Stopped", "train"]

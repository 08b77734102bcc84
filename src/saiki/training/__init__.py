"""The training engine that all experiments share."""

from saiki.training.loop import Point, StoppedError, train

__all__ = ["Point", "StoppedError", "train"]

"""The training engine that all experiments share."""

from saiki.training.loop import Point, StoppedError, Training, device

__all__ = ["Point", "StoppedError", "Training", "device"]

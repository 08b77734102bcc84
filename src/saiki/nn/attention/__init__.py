"""Attention of a decoder to a memory, soft or hard behind one interface."""

from saiki.nn.attention.attention import Attended, Attention, Memory, coverage_loss
from saiki.nn.attention.choice import MovingBaseline, marginal_log_likelihood, reinforce_loss

__all__ = [
    "Attended",
    "Attention",
    "Memory",
    "MovingBaseline",
    "coverage_loss",
    "marginal_log_likelihood",
    "reinforce_loss",
]

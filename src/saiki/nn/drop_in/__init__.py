"""Layers that take the place of those of ``torch.nn``, with its parameters, checks and errors."""

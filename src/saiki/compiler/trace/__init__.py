"""A step and its derivative as one graph of plain operations."""

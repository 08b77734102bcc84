"""Layers: a cell over time, in one direction or two, and layers on top of each other."""

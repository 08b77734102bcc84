"""Vectors by the nearest of a few, and what that loses and uses."""

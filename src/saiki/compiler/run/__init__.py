"""Compiled cells over sequences: what is computed before, in and after the loops."""

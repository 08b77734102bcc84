"""Runs: from the knobs of an experiment to a folder with its model, and what is done with it."""

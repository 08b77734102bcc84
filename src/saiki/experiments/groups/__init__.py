"""Knob groups: what exercises have in common, told once and built from their knobs."""

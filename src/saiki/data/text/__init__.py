"""Texts: pairs of them, prose, and what is done to them before they are learned from."""

"""Dialogue: what is said next, by the turn before or by all that was said."""

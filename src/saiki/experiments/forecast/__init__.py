"""Forecasts of a series of one's own, how sure they are, and what they are worth."""

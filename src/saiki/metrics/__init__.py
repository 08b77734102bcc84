"""Measures of what models say, against what is right. They know no model."""

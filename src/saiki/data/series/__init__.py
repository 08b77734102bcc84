"""Series: numbers over time, from tables and from formulas."""

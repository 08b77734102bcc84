"""Loops held to what the eager loop computes, which takes their place where they differ."""

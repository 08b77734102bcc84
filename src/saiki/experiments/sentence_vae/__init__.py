"""Sentences as codes: a few numbers that each becomes, and new sentences from such numbers."""

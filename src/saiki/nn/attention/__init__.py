"""Attention of a decoder to a memory, soft or hard behind one interface."""

"""Recordings: found, read, parted, changed; and speakers that are synthetic."""

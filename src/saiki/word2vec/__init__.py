"""word2vec: words become vectors (Mikolov et al. 2013), compiled, parallel and to the bit the same
for any number of threads.
"""

LANES = 8
"""Numbers that a processor is given at a time."""
LINE = 16
"""Numbers that processors exchange at a time. Rows of matrices have a multiple of it, and threads
share them by lines, or two would wait for each other when neither needs what the other writes."""


def padded(size: int) -> int:
    """Numbers of a row that holds ``size`` features."""
    return -(-size // LINE) * LINE


OUTPUTS_AT_ONCE = 3
"""Outputs that an input is read once for."""
AHEAD = 4
"""How many windows, and rows, are fetched before they are needed."""

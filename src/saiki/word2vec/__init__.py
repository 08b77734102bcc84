"""word2vec: words become vectors (Mikolov et al. 2013), compiled, parallel and to the bit the same
for any number of threads.
"""

LANES = 8
"""Numbers that a processor is given at a time; rows of matrices have a multiple of it."""


def padded(size: int) -> int:
    """Numbers of a row that holds ``size`` features."""
    return -(-size // LANES) * LANES

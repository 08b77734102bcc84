"""At which calls of a kernel a single step of it is compared with the eager loop."""

import random

NUMBERS = 32
"""Numbers of rows for which a single step is compared when they first occur."""
FIRST_CHECK = 8
"""Calls after which a single step is compared again, then after four times as many, and so on."""


class SpotChecks:
    """At which calls a single step is compared."""

    def __init__(self) -> None:
        self.left, self.interval = 1, FIRST_CHECK // 4
        self.random = random.Random(0)
        self.rows: set[int] = set()

    def due(self, rows: int) -> bool:
        """Whether it is at this call; it is for every number of rows that is new, up to a point,
        since a step may look at how many there are."""
        is_new = rows not in self.rows and len(self.rows) < NUMBERS
        if is_new:
            self.rows.add(rows)
        self.left -= 1
        if self.left > 0:
            return is_new
        self.interval *= 4
        self.left = self.interval
        return True

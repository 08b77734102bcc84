"""Which of many cases ``make test`` tries; ``make test-long`` tries the others."""

from collections.abc import Iterable

import pytest


def one_in(count: int, cases: Iterable[object]) -> list[object]:
    """The cases for ``parametrize``, all but each ``count``th of them marked as long."""
    return [
        case
        if turn % count == 0
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.long)
        for turn, case in enumerate(cases)
    ]

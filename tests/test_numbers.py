"""Numbers are written as a person reads them."""

import math

import pytest

from saiki.numbers import number


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (2.345, "2.3"),
        (40.0, "40"),
        (99.4, "99"),
        (99.7, "100"),
        (-99.6, "-100"),
        (1234.5, "1234"),
        (3.2e6, "3·10⁶"),
        (1.3e-7, "1·10⁻⁷"),
        (0.0, "0"),
        (-3e12, "-3·10¹²"),
        (math.inf, "infinite"),
        (-math.inf, "-infinite"),
    ],
)
def test_numbers_are_written_for_a_person(value, words):
    assert number(value) == words

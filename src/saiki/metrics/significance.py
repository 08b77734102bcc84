"""Whether differences between pairs are more than chance, and how sure a share of them is."""

import math
from collections.abc import Callable, Sequence


def paired_t_test(differences: Sequence[float]) -> float:
    """How probable a mean difference at least this far from 0, to either side, would be by chance
    if pairs did not differ (Student 1908): two-sided p of t = mean / (deviation / √n), with n − 1
    degrees of freedom. 1 where there are fewer than two pairs or one is no number.

    >>> round(paired_t_test([0.02, 0.02, 0.02, 0.03]), 4)
    0.0029
    >>> paired_t_test([0.3])
    1.0
    """
    n = len(differences)
    if n < 2 or not all(map(math.isfinite, differences)):
        return 1.0
    mean = math.fsum(differences) / n
    squares = math.fsum((d - mean) ** 2 for d in differences)
    if squares == 0:
        return float(mean == 0)
    return two_sided(mean / math.sqrt(squares / (n - 1) / n), n - 1)


def two_sided(t: float, freedom: int) -> float:
    """P(|T| ≥ |t|) of Student's t with a whole number of degrees of freedom: the finite
    sums of Abramowitz & Stegun 1964, 26.7.3 and 26.7.4.

    >>> round(two_sided(2.776445, 4), 6)
    0.05
    """
    angle = math.atan2(abs(t), math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    term, total = (cosine if freedom % 2 else 1.0), 0.0
    for k in range(1 + freedom % 2, freedom, 2):
        total += term
        term *= k / (k + 1) * cosine**2
    share = 2 / math.pi * (angle + sine * total) if freedom % 2 else sine * total
    return max(0.0, 1 - share)


def clopper_pearson(count: int, total: int, level: float = 0.05) -> tuple[float, float]:
    """The interval of a share of which ``count`` of ``total`` were seen: all shares with which so
    few, or so many, would be seen in more than half of ``level`` of all cases (Clopper & Pearson
    1934).

    >>> low, high = clopper_pearson(3, 200)
    >>> round(low, 4), round(high, 4)
    (0.0031, 0.0432)
    """

    def at_most(seen: int, share: float) -> float:
        shares = (share**k * (1 - share) ** (total - k) for k in range(seen + 1))
        return math.fsum(math.comb(total, k) * each for k, each in enumerate(shares))

    def where(is_beyond: Callable[[float], bool]) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (low, middle) if is_beyond(middle) else (middle, high)
        return low

    lowest = where(lambda share: 1 - at_most(count - 1, share) > level / 2) if count else 0.0
    highest = where(lambda share: at_most(count, share) < level / 2) if count < total else 1.0
    return lowest, highest


def holm(p_values: Sequence[float]) -> list[float]:
    """The p of each of several comparisons, raised so that of those below 5 % there is a false one
    in 5 % of all cases at most, however many comparisons there are (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    raised, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        raised[i] = highest
    return raised

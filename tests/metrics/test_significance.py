"""Tests of differences beside SciPy, and corrections for many by hand."""

import pytest

from saiki.metrics.significance import clopper_pearson, holm, paired_t_test, two_sided

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 8, 29, 30])
def test_the_probability_is_that_of_student_s_distribution(freedom):
    for t in (0.0, 0.3, -1.0, 2.5, -7.0, 60.0):
        assert two_sided(t, freedom) == pytest.approx(2 * stats.t.sf(abs(t), freedom), abs=1e-12)


def test_pairs_are_tested_as_scipy_does():
    for values in ([0.3, -0.1], [1.0, 2.0, 4.0], [0.01, 0.02, -0.01, 0.03, 0.02]):
        assert paired_t_test(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


def test_what_tells_nothing_has_a_probability_of_one():
    assert paired_t_test([]) == paired_t_test([5.0]) == paired_t_test([1.0, float("nan")]) == 1
    assert paired_t_test([0.0, 0.0, 0.0]) == 1
    assert paired_t_test([2.0, 2.0, 2.0]) == 0


def test_many_comparisons_need_more_of_each():
    assert holm([0.01]) == [0.01]
    # 4 · 0.01, 3 · 0.013 raised to that, 2 · 0.03, and the last as it is but no less than those
    assert holm([0.03, 0.01, 0.05, 0.013]) == pytest.approx([0.06, 0.04, 0.06, 0.04])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("count", "total"), [(0, 200), (1, 7), (10, 200), (199, 200), (5, 5)])
def test_the_interval_of_a_share_is_that_of_scipy(count, total):
    wanted = stats.binomtest(count, total).proportion_ci()
    assert clopper_pearson(count, total) == pytest.approx((wanted.low, wanted.high), abs=1e-9)

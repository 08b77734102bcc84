"""What one step ahead is drawn from."""

import numpy as np

from saiki.plots.first_step import FirstStep


def test_changes_are_those_since_the_value_before_in_percent_of_it_where_asked():
    last, truth = np.array([50.0, 200.0]), np.array([51.0, 190.0])
    for in_percent, wanted in ((False, [1.0, -10.0]), (True, [2.0, -5.0])):
        step = FirstStep("x", np.arange(2), truth, last, last, in_percent, "")
        np.testing.assert_allclose(step.change(truth), wanted)
        np.testing.assert_allclose(step.change(last), 0)

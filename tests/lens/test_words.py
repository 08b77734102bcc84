"""What it says. The views are made by hand, and so are the numbers in the sentences."""

import math

import pytest

from saiki.lens import LayerView, Statistics, describe


def frame(iteration, gradient, h=(-0.5, 0.5), saturated=None, **more):
    values = {"h": Statistics(0.0, 0.1, *h, saturated)}
    return iteration, {"layer": LayerView({"h": gradient}, values, **more)}


def test_a_gradient_that_shrinks_is_told_with_its_factor():
    assert describe([frame(300, [0.001, 0.05, 1.2], saturated=0.254)]) == (
        "at iteration 300 the gradient shrinks 1200× from step 3 to step 1; saturated are 25% of h"
    )


def test_a_gradient_that_grows_is_told_with_its_factor():
    assert describe([frame(7, [3.0, 1.0, 0.5])]) == (
        "at iteration 7 the gradient grows 6× from step 3 to step 1"
    )


def test_a_reversed_layer_is_told_from_its_first_step_to_its_last():
    assert describe([frame(7, [3.0, 1.0, 0.5], reverse=True)]) == (
        "at iteration 7 the gradient shrinks 6× from step 1 to step 3"
    )


@pytest.mark.parametrize("norms", [[1.4, 1.0], [1.0, 1.4]])
def test_a_gradient_that_keeps_its_size_is_told(norms):
    assert "the gradient keeps its size from step 2 to step 1" in describe([frame(1, norms)])


def test_a_gradient_that_vanishes_altogether_is_told():
    assert "the gradient vanishes to exactly 0 from" in describe([frame(1, [0.0, 0.3])])


def test_only_the_last_iteration_tells_how_the_gradient_flows():
    history = [frame(1, [1.0, 1.0]), frame(100, [1.0, 4.0])]
    assert describe(history) == "at iteration 100 the gradient shrinks 4× from step 2 to step 1"


@pytest.mark.parametrize(
    "alive",
    [
        3,
        1,
    ],
)
def test_a_dead_gradient_is_told_from_the_iteration_it_died_at(alive):
    history = [frame(i, [0.1, 0.1] if i <= alive else [0.0, 0.0]) for i in (1, 2, 3, 4, 5)]
    wanted = f"the gradient died: it is 0 at every step from iteration {alive + 1} on; "
    assert describe(history).startswith(wanted)


def test_a_gradient_that_comes_back_has_not_died():
    history = [frame(1, [0.1, 0.1]), frame(2, [0.0, 0.0]), frame(3, [0.1, 0.1])]
    assert "died" not in describe(history)


def test_an_exploded_state_is_told_with_its_size_and_the_first_iteration():
    sizes = [(1, 2.0), (10, 999.0), (20, -1001.0), (30, 5e9)]
    history = [frame(i, [1.0, 1.0], h=(min(0.0, s), max(0.0, s))) for i, s in sizes]
    assert describe(history).startswith("h exploded by iteration 20: it reached 1001; at ")


def test_the_state_that_exploded_is_named():
    _, view = frame(20, [1.0, 1.0])
    cell = Statistics(0.0, 1.0, -2.0, 1e30, None)
    layer = view["layer"]
    both = LayerView({**layer.gradient, "c": [1.0, 1.0]}, {**layer.values, "c": cell})
    description = describe([(20, {"layer": both})])
    assert description.startswith("c exploded by iteration 20: it reached 1·10³⁰; ")


def test_an_exploded_gradient_is_told_with_its_norm_its_step_and_its_iteration():
    history = [frame(i, [1.0, 1.0]) for i in (1, 2, 3, 4)]
    history[2] = frame(3, [5.0, 4.2e4])
    wanted = "the gradient exploded at iteration 3: norm 4·10⁴ at step 2; "
    assert describe(history).startswith(wanted)


@pytest.mark.parametrize(
    ("norm", "word"),
    [(math.inf, "infinite"), (math.nan, "NaN")],
)
def test_a_gradient_that_is_no_number_has_exploded(norm, word):
    sentence = describe([frame(1, [1.0, 1.0]), frame(2, [norm, 1.0])])
    assert sentence.startswith(f"the gradient exploded at iteration 2: norm {word} at step 1; ")
    assert sentence.endswith("at iteration 2 the gradient is not finite from step 2 to step 1")


@pytest.mark.parametrize("norm", [0.0, math.nan])
def test_an_overflow_is_told_with_its_iteration_and_its_step(norm):
    history = [frame(1, [1.0, 1.0]), frame(5, [norm, norm], first_infinite=2)]
    assert describe(history).startswith("h overflowed at iteration 5, step 2; ")
    history[1] = frame(5, [norm, norm], first_infinite=2, first_infinite_state="c")
    assert describe(history).startswith("c overflowed at iteration 5, step 2; ")


def test_each_layer_has_its_own_line():
    _, view = frame(1, [1.0, 2.0])
    _, other = frame(1, [2.0, 1.0])
    lines = describe([(1, {"below": view["layer"], "above": other["layer"]})]).splitlines()
    assert [line.split(":")[0] for line in lines] == ["below", "above"]
    assert "shrinks 2×" in lines[0]
    assert "grows 2×" in lines[1]

import pytest
import torch

from saiki import Cell, CellError, Recurrent


def cell_of(step, name="Odd"):
    """A cell of 4 inputs and 4 units whose step is the given function."""
    return type(name, (Cell,), {"step": step})(4, 4)


def mean_over_batch(self, x, h):
    return h + x - x.mean(0)


def batch_flipped(self, x, h):
    return x + h.flip(0)


def batch_rolled(self, x, h):
    return x + h.roll(1, 0)


def sum_of_the_rows_before(self, x, h):
    return x + h.cumsum(0)


def sum_of_the_rows_after(self, x, h):
    return x + h.flip(0).cumsum(0).flip(0)


def relative_to_the_last_row(self, x, h):
    return x + h - x[-1:]


def softmax_over_rows(self, x, h):
    return torch.softmax(x + h, 0)


@pytest.mark.parametrize(
    "step",
    [
        mean_over_batch,
        batch_flipped,
        batch_rolled,
        sum_of_the_rows_before,
        sum_of_the_rows_after,
        relative_to_the_last_row,
        softmax_over_rows,
    ],
)
def test_rows_of_the_batch_that_see_each_other_are_refused(step):
    sentence = "^step of Odd mixes rows of the batch: .* changes state 'h' of another$"
    with pytest.raises(CellError, match=sentence):
        Recurrent(cell_of(step))


def test_rows_mixed_in_the_second_state_only_are_refused_by_its_name():
    def step(self, x, h, c):
        return x + h, c - c.mean(0)

    with pytest.raises(CellError, match=r"mixes rows of the batch: .* state 'c' of another"):
        Recurrent(cell_of(step))


class Normalised(Cell):
    def __init__(self, input_size, hidden_size):
        super().__init__(input_size, hidden_size)
        self.norm = torch.nn.BatchNorm1d(input_size)

    def step(self, x, h):
        return h + self.norm(x)


def test_batch_norm_is_refused_in_training():
    with pytest.raises(CellError, match="step of Normalised mixes rows of the batch"):
        Recurrent(Normalised(4, 4))


def test_batch_norm_in_evaluation_is_an_affine_map_of_each_row():
    cell = Normalised(4, 4).eval()
    cell.norm.running_mean.normal_()
    cell.norm.running_var.uniform_(1, 2)
    x = torch.randn(2, 3, 4)
    scaled = (x - cell.norm.running_mean) / (cell.norm.running_var + cell.norm.eps).sqrt()
    torch.testing.assert_close(Recurrent(cell)(x)[0], scaled.cumsum(1))


def test_a_cell_that_drops_units_at_random_does_not_count_as_mixing_rows():
    def step(self, x, h):
        return h + torch.nn.functional.dropout(x, 0.5)

    y, _ = Recurrent(cell_of(step), backend="eager")(torch.ones(1, 400, 4))
    increments = y.diff(dim=1)
    assert set(increments.unique().tolist()) == {0.0, 2.0}
    assert increments.mean().item() == pytest.approx(1.0, abs=0.15)  # 1600 draws of 0 or 2


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (lambda self, x, h: (h, h), r"must return 1 state\(s\) \(h\), and it returned 2"),
        (lambda self, x, h, c: h, r"must return 2 state\(s\) \(h, c\), and it returned 1"),
        (lambda self, x, h, c: (h, c, x), "and it returned 3"),
        (lambda self, x, h: h[:, :3], r"shape \(3, 3\) instead of \(3, 4\) for state 'h'"),
        (lambda self, x, h: h[:2], r"shape \(2, 4\) instead of \(3, 4\) for state 'h'"),
        (lambda self, x, h, c: (h, c[0]), r"shape \(4,\) instead of \(3, 4\) for state 'c'"),
        (lambda self, x, h: h.double(), "torch.float64 instead of torch.float32 for state 'h'"),
        (lambda self, x, h, c: (h, c > 0), "torch.bool instead of torch.float32 for state 'c'"),
        (lambda self, x, h: None, "a NoneType as state 'h'"),
        (lambda self, x, h, c: (h, 0.0), "a float as state 'c'"),
    ],
)
def test_a_step_that_returns_something_else_than_its_states_is_refused(step, sentence):
    with pytest.raises(CellError, match=rf"^step of Odd .*{sentence}$"):
        Recurrent(cell_of(step))


def test_the_contract_holds_at_every_step_and_not_only_at_the_first():
    class Forgetful(Cell):
        calls = 0

        def step(self, x, h):
            self.calls += 1
            return h if self.calls < 6 else (h, h)

    layer = Recurrent(Forgetful(4, 4), backend="eager")
    with pytest.raises(CellError, match="step of Forgetful must return 1 state"):
        layer(torch.zeros(1, 9, 4))


def test_states_are_named_as_the_step_names_them():
    cell = cell_of(lambda self, x, hidden, memory, clock: (hidden, memory, clock))
    assert cell.state_names == ("hidden", "memory", "clock")


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        (lambda self, x: x, r"step of Odd takes no state; write step\(self, x, h\)"),
        (lambda self: self, r"step of Odd takes no state; write step\(self, x, h\)"),
        (lambda self, x, *state: state, "step of Odd must name each state"),
        (lambda self, x, h, *, c: h, "step of Odd must name each state"),
        (lambda self, x, **states: x, "step of Odd must name each state"),
    ],
)
def test_a_step_that_does_not_name_its_states_is_refused(step, sentence):
    with pytest.raises(CellError, match=sentence):
        Recurrent(cell_of(step))


def test_a_cell_without_step_is_refused():
    class Empty(Cell):
        pass

    with pytest.raises(CellError, match=r"Empty defines no step\(self, x, \*state\)"):
        Empty(3, 4)


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ((0, 4), "input_size must be a whole number of at least 1, got 0"),
        ((3, -2), "hidden_size must be a whole number of at least 1, got -2"),
        ((3, 4.0), "hidden_size must be a whole number of at least 1, got 4.0"),
        (("3", 4), "input_size must be a whole number of at least 1, got '3'"),
    ],
)
def test_sizes_must_be_positive_whole_numbers(sizes, sentence):
    with pytest.raises(CellError, match=sentence):
        type("Odd", (Cell,), {"step": lambda self, x, h: h})(*sizes)


class Projected(Cell):
    """A running sum of the input, c, and its first two features, h."""

    @property
    def state_sizes(self):
        return 2, self.hidden_size

    def step(self, x, h, c):
        c = c + x
        return c[:, :2], c


def test_state_sizes_may_differ_from_hidden_size_and_from_each_other():
    x = torch.randn(2, 7, 4)
    y, (h, c) = Recurrent(Projected(4, 4))(x)
    torch.testing.assert_close(y, x.cumsum(1)[..., :2])
    torch.testing.assert_close(h, x.sum(1)[:, :2])
    torch.testing.assert_close(c, x.sum(1))


def test_an_initial_state_of_its_own_is_where_the_sequence_begins():
    class Counter(Cell):
        def initial_state(self, batch):
            return torch.full((batch, self.hidden_size), 10.0)

        def step(self, x, h):
            return h + 1

    y, _ = Recurrent(Counter(3, 1))(torch.zeros(2, 4, 3))
    assert y[..., 0].tolist() == [[11.0, 12.0, 13.0, 14.0]] * 2


def test_an_initial_state_of_a_wrong_shape_is_refused():
    class Lost(Cell):
        def initial_state(self, batch):
            return torch.zeros(batch, 5)

        def step(self, x, h):
            return h

    sentence = r"initial_state\(3\) of Lost must have the shapes \[\(3, 4\)\], got \[\(3, 5\)\]"
    with pytest.raises(CellError, match=sentence):
        Recurrent(Lost(4, 4))


def test_trying_a_cell_out_leaves_the_random_state_as_it_was():
    cell = cell_of(lambda self, x, h: h + torch.rand_like(x))
    before = torch.random.get_rng_state()
    Recurrent(cell)
    assert torch.equal(torch.random.get_rng_state(), before)

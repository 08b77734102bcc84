import copy
import io
import pickle

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from saiki import Bidirectional, Cell, InputError, Recurrent, Stack
from saiki.cells import GRU, LSTM, SimpleRNN

LENGTHS = torch.tensor([3, 7, 1, 7, 5])


def randomised(module):
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.5)
    return module.double()


def sequences(batch=5, time=7, size=3):
    return torch.randn(batch, time, size, dtype=torch.float64)


def padded(x, lengths, value=float("nan")):
    """A copy of ``x`` with ``value`` beyond each row's length."""
    beyond = torch.arange(x.shape[1]) >= lengths[:, None]
    return x.masked_fill(beyond[..., None], value)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


def as_torch(layer, **arguments):
    """A torch.nn.LSTM with the weights of a Recurrent or Bidirectional LSTM."""
    first = layer.forward_layer if isinstance(layer, Bidirectional) else layer
    reference = torch.nn.LSTM(
        first.cell.input_size, first.cell.hidden_size, batch_first=True, **arguments
    ).double()
    with torch.no_grad():
        copy_weights(first.cell, reference, "l0")
        if isinstance(layer, Bidirectional):
            copy_weights(layer.backward_layer.cell, reference, "l0_reverse")
    return reference


def copy_weights(cell, reference, suffix):
    getattr(reference, f"weight_ih_{suffix}").copy_(cell.W.weight)
    getattr(reference, f"weight_hh_{suffix}").copy_(cell.U.weight)
    getattr(reference, f"bias_ih_{suffix}").copy_(cell.b)
    getattr(reference, f"bias_hh_{suffix}").zero_()


class TestOverTime:
    def test_is_the_step_applied_again_and_again(self):
        layer = randomised(Recurrent(GRU(3, 4)))
        x = sequences(time=3)
        h = torch.zeros(5, 4, dtype=torch.float64)
        y, last = layer(x)
        for t in range(3):
            h = layer.cell.step(x[:, t], h)
            close(y[:, t], h)
        close(last, h)

    def test_batch_of_one_and_a_single_step(self):
        layer = randomised(Recurrent(LSTM(3, 4)))
        x = sequences(batch=1, time=1)
        y, (_, c) = layer(x)
        reference_y, (_, reference_c) = as_torch(layer)(x)
        close(y, reference_y)
        close(c, reference_c[0])

    def test_continues_from_the_state_it_returned(self):
        layer = randomised(Recurrent(LSTM(3, 4)))
        x = sequences()
        whole, _ = layer(x)
        _, middle = layer(x[:, :4])
        rest, _ = layer(x[:, 4:], middle)
        close(rest, whole[:, 4:])

    def test_passes_gradients_to_the_initial_state(self):
        layer = randomised(Recurrent(LSTM(3, 4)))
        x = sequences()
        start = [torch.randn(5, 4, dtype=torch.float64, requires_grad=True) for _ in "hc"]
        ours = torch.autograd.grad(layer(x, tuple(start))[0].square().sum(), start)
        y, _ = as_torch(layer)(x, tuple(s[None] for s in start))
        for a, b in zip(ours, torch.autograd.grad(y.square().sum(), start), strict=True):
            close(a, b)

    def test_a_learned_initial_state_gets_the_gradient_summed_over_rows(self):
        class Started(SimpleRNN):
            def __init__(self, input_size, hidden_size):
                super().__init__(input_size, hidden_size)
                self.start = torch.nn.Parameter(torch.randn(hidden_size))

            def initial_state(self, batch):
                return self.start.expand(batch, -1)

        layer = randomised(Recurrent(Started(3, 4)))
        x = sequences()
        start = layer.cell.start.detach().expand(5, -1).clone().requires_grad_()
        (rows,) = torch.autograd.grad(layer(x, start)[0].square().sum(), start)
        layer(x)[0].square().sum().backward()
        assert rows.abs().min() > 0
        close(layer.cell.start.grad, rows.sum(0))

    def test_hooks_on_the_cell_see_every_step(self):
        layer = randomised(Recurrent(LSTM(3, 4)))
        seen = []
        layer.cell.register_forward_hook(lambda cell, inputs, states: seen.append(states[0]))
        y, _ = layer(sequences())
        close(torch.stack(seen, 1), y)


class TestReverse:
    def test_reads_backwards_and_answers_in_the_order_of_the_input(self):
        layer = randomised(Recurrent(GRU(3, 4)))
        x = sequences()
        forwards, end = layer(x.flip(1))
        y, last = Recurrent(layer.cell, reverse=True)(x)
        close(y, forwards.flip(1))
        close(last, end)

    def test_each_ragged_row_begins_at_its_own_last_step(self):
        layer = randomised(Recurrent(GRU(3, 4), reverse=True))
        x = sequences()
        y, last = layer(padded(x, LENGTHS), lengths=LENGTHS)
        for i, length in enumerate(LENGTHS):
            alone, end = layer(x[i : i + 1, :length])
            close(y[i, :length], alone[0])
            close(last[i], end[0])


class TestLengths:
    def test_agree_with_packed_sequences_of_torch(self):
        layer = randomised(Recurrent(LSTM(3, 4)))
        x = sequences(time=9)  # no row reaches the last two steps
        start = [torch.randn(5, 4, dtype=torch.float64) for _ in "hc"]
        y, (h, c) = layer(x, tuple(start), lengths=LENGTHS)

        packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
        packed_y, ends = as_torch(layer)(packed, tuple(s[None] for s in start))
        expected, _ = pad_packed_sequence(packed_y, batch_first=True, total_length=9)
        for a, b in zip((y, h, c), (expected, *(s[0] for s in ends)), strict=True):
            close(a, b)

    @pytest.mark.parametrize("reverse", [False, True])
    def test_gradients_are_those_of_each_row_alone(self, reverse):
        layer = randomised(Recurrent(LSTM(3, 4), reverse=reverse))
        x = sequences().requires_grad_()
        wanted = [x, *layer.parameters()]
        y, (_, c) = layer(x, lengths=LENGTHS)
        together = torch.autograd.grad(y.square().sum() + c.sum(), wanted)
        loss = 0
        for row, length in zip(x, LENGTHS, strict=True):
            y, (_, c) = layer(row[None, :length])
            loss = loss + y.square().sum() + c.sum()
        for a, b in zip(together, torch.autograd.grad(loss, wanted), strict=True):
            close(a, b)

    @pytest.mark.parametrize(
        "build",
        [
            lambda: Recurrent(LSTM(3, 4)),
            lambda: Recurrent(LSTM(3, 4), reverse=True),
            lambda: Bidirectional(GRU(3, 4)),
            lambda: Stack([SimpleRNN(3, 5), Bidirectional(LSTM(5, 4)), GRU(8, 2)]),
        ],
        ids=["forward", "reverse", "bidirectional", "stack"],
    )
    def test_padding_of_nan_changes_neither_outputs_nor_gradients(self, build):
        layer = randomised(build())
        x = sequences()

        def run(value):
            at_padding = padded(x, LENGTHS, value).requires_grad_()
            y, _ = layer(at_padding, lengths=LENGTHS)
            loss = y.square().sum()
            return y, *torch.autograd.grad(loss, [at_padding, *layer.parameters()])

        for a, b in zip(run(float("nan")), run(0.0), strict=True):
            assert torch.equal(a, b)

    def test_outputs_and_input_gradients_beyond_the_length_are_zero(self):
        layer = randomised(Recurrent(LSTM(3, 4)))
        x = sequences().requires_grad_()
        y, _ = layer(x, lengths=LENGTHS)
        y.sum().backward()
        beyond = torch.arange(7) >= LENGTHS[:, None]
        assert y[beyond].abs().max() == x.grad[beyond].abs().max() == 0
        assert y[~beyond].abs().min() > 0
        assert x.grad[~beyond].abs().min() > 0

    def test_gradients_reach_the_initial_state_of_the_right_row(self):
        layer = randomised(Recurrent(GRU(3, 4)))
        x = sequences()
        start = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
        _, last = layer(x, start, LENGTHS)
        (gradient,) = torch.autograd.grad(last[2].sum(), start)
        assert gradient[2].abs().min() > 0
        assert gradient[[0, 1, 3, 4]].abs().max() == 0

    def test_may_be_a_list(self):
        layer = randomised(Recurrent(GRU(3, 4)))
        x = sequences()
        close(layer(x, lengths=LENGTHS.tolist())[1], layer(x, lengths=LENGTHS)[1])


class TestBidirectional:
    def test_agrees_with_torch_on_ragged_rows(self):
        layer = randomised(Bidirectional(LSTM(3, 4)))
        x = sequences()
        y, (forward, backward) = layer(x, lengths=LENGTHS)
        packed = pack_padded_sequence(x, LENGTHS, batch_first=True, enforce_sorted=False)
        packed_y, (h, c) = as_torch(layer, bidirectional=True)(packed)
        close(y, pad_packed_sequence(packed_y, batch_first=True)[0])
        for i, (ours_h, ours_c) in enumerate((forward, backward)):
            close(ours_h, h[i])
            close(ours_c, c[i])

    @pytest.mark.parametrize(
        ("merge", "by_hand"),
        [
            ("concat", lambda a, b: torch.cat([a, b], dim=2)),
            ("sum", lambda a, b: a + b),
            ("mean", lambda a, b: 0.5 * a + 0.5 * b),
            ("mul", lambda a, b: a * b),
        ],
    )
    def test_merges_both_directions_step_by_step(self, merge, by_hand):
        layer = randomised(Bidirectional(SimpleRNN(3, 4), merge=merge))
        x = sequences()
        a, _ = layer.forward_layer(x)
        b, _ = Recurrent(layer.backward_layer.cell)(x.flip(1))
        y, _ = layer(x)
        close(y, by_hand(a, b.flip(1)))
        assert layer.output_size == y.shape[2]

    def test_directions_start_with_different_parameters(self):
        layer = Bidirectional(GRU(3, 4))
        pairs = zip(
            layer.forward_layer.parameters(), layer.backward_layer.parameters(), strict=True
        )
        for a, b in pairs:
            assert a is not b
            if a.ndim > 1:  # biases start at zero on both sides
                assert (a - b).abs().min() > 0

    def test_parameters_of_no_module_are_drawn_anew_too(self):
        class Diagonal(Cell):
            def __init__(self, size, spread):
                super().__init__(size, size)
                self.rate = torch.nn.Parameter(spread * torch.randn(size))
                self.shift = torch.nn.Parameter(torch.zeros(size))

            def step(self, x, h):
                return x + torch.tanh(self.rate) * h + self.shift

        cell = Diagonal(5, spread=3.0).double()
        cell.shift.requires_grad_(False)
        layer = Bidirectional(cell)
        back = layer.backward_layer.cell
        assert (cell.rate - back.rate).abs().min() > 0
        assert torch.equal(cell.shift, back.shift)
        assert (back.rate.dtype, back.shift.requires_grad) == (torch.float64, False)

    def test_takes_another_cell_for_the_way_back(self):
        layer = randomised(Bidirectional(GRU(3, 4), backward=SimpleRNN(3, 2)))
        x = sequences()
        y, _ = layer(x)
        expected, _ = Recurrent(layer.backward_layer.cell, reverse=True)(x)
        close(y[..., 4:], expected)
        assert layer.output_size == y.shape[2]

    def test_hands_each_direction_its_own_initial_state(self):
        layer = randomised(Bidirectional(GRU(3, 4)))
        x = sequences()
        past, future = torch.randn(2, 5, 4, dtype=torch.float64)
        y, _ = layer(x, (past, future))
        close(y[..., :4], layer.forward_layer(x, past)[0])
        close(y[..., 4:], layer.backward_layer(x, future)[0])


class TestStack:
    def test_each_layer_reads_the_one_below(self):
        layer = randomised(Stack([SimpleRNN(3, 5), Bidirectional(LSTM(5, 4)), GRU(8, 2)]))
        x = sequences()
        y, states = layer(x, lengths=LENGTHS)
        for part, state in zip(layer.layers, states, strict=True):
            x, expected = part(x, lengths=LENGTHS)
            torch.testing.assert_close(state, expected, rtol=1e-11, atol=1e-12)
        close(y, x)

    def test_agrees_with_two_layers_of_torch(self):
        layer = randomised(Stack([LSTM(3, 4), LSTM(4, 4)]))
        reference = torch.nn.LSTM(3, 4, num_layers=2, batch_first=True).double()
        with torch.no_grad():
            for i, part in enumerate(layer.layers):
                copy_weights(part.cell, reference, f"l{i}")
        x = sequences()
        y, states = layer(x)
        expected, (h, c) = reference(x)
        close(y, expected)
        for i, (ours_h, ours_c) in enumerate(states):
            close(ours_h, h[i])
            close(ours_c, c[i])

    def test_hands_each_layer_its_own_initial_state(self):
        layer = randomised(Stack([GRU(3, 4), SimpleRNN(4, 2)]))
        x = sequences()
        low, high = (torch.randn(5, size, dtype=torch.float64) for size in (4, 2))
        y, _ = layer(x, (low, high))
        close(y, layer.layers[1](layer.layers[0](x, low)[0], high)[0])

    def test_dropout_lies_between_layers_but_not_after_the_last(self):
        layer = randomised(Stack([GRU(3, 40), GRU(40, 40)], dropout=0.4))
        seen = []
        for part in layer.layers:
            part.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        x = sequences()
        y, _ = layer(x)
        below, _ = layer.layers[0](x)
        close(seen[0], x)
        is_zero_free = seen[1] != 0
        assert is_zero_free.double().mean().item() == pytest.approx(0.6, abs=0.05)  # 1400 draws
        close(seen[1][is_zero_free], below[is_zero_free] / 0.6)
        assert (y != 0).all()

    def test_dropout_is_off_in_evaluation(self):
        layer = randomised(Stack([GRU(3, 4), GRU(4, 4)], dropout=0.5)).eval()
        x = sequences()
        close(layer(x)[0], layer.layers[1](layer.layers[0](x)[0])[0])


def stacked():
    return randomised(Stack([LSTM(3, 4, peephole=True), Bidirectional(SimpleRNN(4, 2, "relu"))]))


class TestCopies:
    def test_a_deep_copy_computes_the_same_with_parameters_of_its_own(self):
        layer = stacked()
        twin = copy.deepcopy(layer)
        x = sequences()
        expected = layer(x)[0].detach().clone()
        with torch.no_grad():
            for p in layer.parameters():
                p.zero_()
        close(twin(x)[0], expected)

    def test_a_pickled_layer_computes_the_same(self):
        layer = stacked()
        x = sequences()
        close(pickle.loads(pickle.dumps(layer))(x)[0], layer(x)[0])

    def test_saved_weights_load_into_another_layer(self):
        layer, other = stacked(), stacked()
        file = io.BytesIO()
        torch.save(layer.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        x = sequences()
        close(other(x)[0], layer(x)[0])


class TestErrors:
    @pytest.mark.parametrize("shape", [(5, 7, 4), (7, 3), (2, 5, 7, 3), (5, 0, 3), (0, 0, 3)])
    def test_x_of_a_wrong_shape(self, shape):
        with pytest.raises(InputError, match=r"^x must be \(batch, time, 3\) with a step at least"):
            Recurrent(GRU(3, 4))(torch.zeros(shape))

    @pytest.mark.parametrize(
        ("lengths", "sentence"),
        [
            ([3, 7], "must hold 5 whole numbers, one for each row, got"),
            ([[3, 7, 1, 7, 5]], "must hold 5 whole numbers"),
            ([3.0, 7.0, 1.0, 7.0, 5.0], "got torch.float32 of shape"),
            ([True] * 5, "got torch.bool of shape"),
            ([3, 7, 0, 7, 5], "between 1 and the 7 steps of x, got 0 to 7"),
            ([3, 8, 1, 7, 5], "between 1 and the 7 steps of x, got 1 to 8"),
        ],
    )
    def test_wrong_lengths(self, lengths, sentence):
        with pytest.raises(InputError, match=f"^lengths .*{sentence}"):
            Recurrent(GRU(3, 4))(torch.zeros(5, 7, 3), lengths=torch.tensor(lengths))

    @pytest.mark.parametrize(
        "state",
        [
            torch.zeros(5, 4),
            (torch.zeros(5, 4),) * 3,
            (torch.zeros(5, 4), torch.zeros(5, 2)),
            (torch.zeros(2, 4), torch.zeros(2, 4)),
            (torch.zeros(1, 5, 4), torch.zeros(1, 5, 4)),
        ],
        ids=["too few", "too many", "wrong size", "wrong batch", "as torch.nn has it"],
    )
    def test_a_state_of_a_wrong_shape(self, state):
        with pytest.raises(InputError, match=r"must have the shapes \[\(5, 4\), \(5, 4\)\], got"):
            Recurrent(LSTM(3, 4))(torch.zeros(5, 7, 3), state)

    def test_a_single_state_for_two_directions(self):
        layer = Bidirectional(GRU(3, 4))
        with pytest.raises(InputError, match="must be a pair, forward and backward, got 3"):
            layer(torch.zeros(5, 7, 3), (torch.zeros(5, 4),) * 3)

    def test_a_tensor_that_stands_for_the_states_of_two_directions(self):
        layer = randomised(Bidirectional(GRU(3, 4)))
        states = torch.randn(2, 5, 4, dtype=torch.float64)
        x = sequences()
        close(layer(x, states)[0], layer(x, tuple(states))[0])

    def test_a_tensor_that_stands_for_the_states_of_two_layers(self):
        layer = randomised(Stack([GRU(3, 4), GRU(4, 4)]))
        states = torch.randn(2, 5, 4, dtype=torch.float64)
        x = sequences()
        close(layer(x, states)[0], layer(x, tuple(states))[0])

    def test_too_few_states_for_a_stack(self):
        layer = Stack([GRU(3, 4), GRU(4, 4)])
        with pytest.raises(InputError, match="must hold 2 entries, got 1"):
            layer(torch.zeros(5, 7, 3), (torch.zeros(5, 4),))

    @pytest.mark.parametrize(
        ("build", "sentence"),
        [
            (lambda: Recurrent(torch.nn.GRU(3, 4)), "takes a saiki.Cell, got GRU"),
            (lambda: Recurrent(GRU(3, 4), backend="cuda"), "backend must be one of .*got 'cuda'"),
            (lambda: Bidirectional(GRU(3, 4), merge="max"), "merge must be one of .*got 'max'"),
            (lambda: Bidirectional(torch.nn.GRU(3, 4)), "Bidirectional takes a Cell .*got GRU"),
            (lambda: Bidirectional(Recurrent(GRU(3, 4), reverse=True)), "that is not reversed"),
            (lambda: Bidirectional(Stack([GRU(3, 4)])), "takes a Cell or a Recurrent"),
            (
                lambda: Bidirectional(GRU(3, 4), backward=Recurrent(GRU(3, 4))),
                "a Recurrent with reverse=True",
            ),
            (
                lambda: Bidirectional(GRU(3, 4), merge="sum", backward=GRU(3, 5)),
                r"needs outputs of one size, got \(4, 5\)",
            ),
            (lambda: Bidirectional(GRU(3, 4), backward=GRU(2, 4)), "3.*2"),
            (lambda: Stack([]), "at least one layer"),
            (lambda: Stack([GRU(3, 4), torch.nn.Linear(4, 4)]), "expected a Cell .*got Linear"),
            (lambda: Stack([GRU(3, 4), GRU(5, 4)]), "4 outputs lies below one with 5 inputs"),
            (lambda: Stack([GRU(3, 4)], dropout=1.0), r"dropout must lie in \[0, 1\), got 1.0"),
            (lambda: Stack([GRU(3, 4)], dropout=-0.1), r"dropout must lie in \[0, 1\), got -0.1"),
        ],
    )
    def test_layers_that_cannot_be_built(self, build, sentence):
        with pytest.raises(InputError, match=sentence):
            build()


class Leaky(Cell):
    def step(self, x, h):
        return 0.9 * h + 0.1 * x


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_what_is_no_real_number_is_refused(dtype):
    for layer in (Recurrent(Leaky(3, 3)), Bidirectional(GRU(3, 4)), Stack([GRU(3, 4)])):
        with pytest.raises(InputError, match=f"x must hold floating-point .*, got {dtype}"):
            layer(torch.ones(2, 9, 3, dtype=dtype))


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
@pytest.mark.filterwarnings("ignore:running step by step")
def test_an_input_of_another_type_than_the_weights_is_told(dtype, backend):
    layer = Recurrent(GRU(3, 4), backend=backend)
    sentence = f"^x is of {dtype} and the weights are of torch.float32; convert one of them$"
    for each in (layer, Bidirectional(layer)):
        with pytest.raises(InputError, match=sentence):
            each(torch.ones(2, 9, 3, dtype=dtype))


def test_a_cell_may_convert_its_input_by_itself():
    class Casting(Cell):
        def __init__(self):
            super().__init__(3, 3)
            self.W = torch.nn.Linear(3, 3)

        def step(self, x, h):
            return (h.float() + self.W(x.float())).to(h.dtype)

    layer = Recurrent(Casting(), backend="eager")
    x = torch.randn(2, 5, 3)
    torch.testing.assert_close(layer(x.double())[0].float(), layer(x)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_cell_without_parameters_works_in_the_type_of_its_input(dtype):
    x = torch.ones(2, 9, 3, dtype=dtype)
    y, _ = Recurrent(Leaky(3, 3))(x)
    expected = 1 - 0.9 ** torch.arange(1, 10, dtype=dtype)  # the geometric series
    torch.testing.assert_close(y, expected[None, :, None].expand(2, 9, 3))


def test_hooks_on_one_direction_are_called():
    layer = randomised(Bidirectional(GRU(3, 4)))
    x = torch.randn(2, 5, 3, dtype=next(layer.parameters()).dtype)
    wanted, _ = layer(x)
    called = []
    layer.backward_layer.register_forward_hook(lambda *arguments: called.append(arguments))
    y, _ = layer(x)
    assert len(called) == 1
    assert torch.equal(y, wanted)


class TestAutocast:
    @pytest.mark.parametrize("backend", ["auto", "eager"])
    @pytest.mark.parametrize("make", [LSTM, GRU, SimpleRNN])
    def test_a_layer_computes_in_the_type_of_its_weights_and_stays_as_it_was(self, make, backend):
        layer = randomised(Bidirectional(Recurrent(make(3, 5), backend=backend))).float()
        x = torch.randn(2, 6, 3)
        with torch.autocast("cpu", torch.bfloat16):
            first, _ = layer(x)
            low, _ = layer(x.bfloat16())
        second, _ = layer(x)
        assert first.dtype == low.dtype == torch.float32
        assert torch.equal(first, second)
        torch.testing.assert_close(low, second, rtol=0, atol=0.05)


def test_layers_of_several_parts_explain_each_of_them():
    both, alone = Bidirectional(GRU(3, 4)), Recurrent(GRU(3, 4))
    assert both.explain() == f"forward, {alone.explain()}\nbackward, {alone.explain()}"
    stack = Stack([both, GRU(8, 2)])
    assert stack.explain().startswith(f"layer 0, {both.explain()}\nlayer 1, ")


@pytest.mark.parametrize("backend", ["eager", "cpu"])
@pytest.mark.parametrize("ragged", [False, True])
def test_an_empty_batch_has_outputs_and_gradients(backend, ragged):
    one = lambda cell, **how: Recurrent(cell, backend=backend, **how)  # noqa: E731
    layers = [
        one(LSTM(3, 4), reverse=True),
        Bidirectional(one(GRU(3, 4))),
        Stack([one(SimpleRNN(3, 4)), one(GRU(4, 4))]),
    ]
    for layer in layers:
        x = torch.zeros(0, 5, 3, requires_grad=True)
        lengths = torch.zeros(0, dtype=torch.long) if ragged else None
        y, end = layer(x, lengths=lengths)
        assert y.shape == (0, 5, layer.output_size)
        assert all(len(state) == 0 for state in torch.utils._pytree.tree_leaves(end))
        y.sum().backward()
        assert x.grad.shape == x.shape
        assert not any(p.grad.any() for p in layer.parameters())
        x = torch.randn(2, 5, 3)
        close(layer(x)[0], copy.deepcopy(layer)(x)[0])

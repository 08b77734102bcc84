"""The encoder and decoder of series: against numpy and torch.nn, at once and step by step."""

import numpy as np
import pytest
import torch
from torch import nn

import saiki
from saiki import Bidirectional, Recurrent, Stack
from saiki.cells import GRU, LSTM, SimpleRNN
from saiki.errors import InputError
from saiki.models.series import Feedback, SeriesSeq2Seq, Units
from saiki.saving.description import describe, make

CELLS = {"rnn": SimpleRNN, "gru": GRU, "lstm": LSTM}


def randomised(model):
    for p in model.parameters():
        nn.init.normal_(p, std=0.5)
    return model.double()


def simple(**units):
    return randomised(SeriesSeq2Seq(SimpleRNN(2, 5), SimpleRNN(2, 5), **units))


def decoder_input(d, epsilon):
    return torch.cat((d, epsilon), -1)


def by_hand(model, z, d, epsilon):
    """What is written, one row and one step at a time, in numpy."""
    e, f = model.encoder.cell, model.decoder.cell
    We, be, Ue = (p.detach().numpy() for p in (e.W.weight, e.W.bias, e.U.weight))
    Wd, bd, Ud = (p.detach().numpy() for p in (f.cell.W.weight, f.cell.W.bias, f.cell.U.weight))
    V, c = f.readout.weight.detach().numpy(), f.readout.bias.detach().numpy()
    rows = []
    for x, true, share in zip(z.numpy(), d.numpy(), epsilon.numpy(), strict=True):
        s = np.zeros(5)
        for value in x:
            s = np.tanh(We @ value + be + Ue @ s)
        y, row = np.zeros(2), []
        for before, e_t in zip(true, share, strict=True):
            s = np.tanh(Wd @ (e_t * before + (1 - e_t) * y) + bd + Ud @ s)
            y = V @ s + c
            row.append(y)
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("kind", ["free", "forced", "sampled"])
def test_what_is_written_is_that_of_numpy(kind):
    model, z = simple(), torch.randn(3, 7, 2).double()
    d = torch.randn(3, 7, 2).double()
    shares = {"free": 0.0, "forced": 1.0, "sampled": 0.5}
    epsilon = torch.bernoulli(torch.full((3, 7, 1), shares[kind]).double())
    wanted = by_hand(model, z, d, epsilon)
    np.testing.assert_allclose(
        model.write(z, decoder_input(d, epsilon)).detach(), wanted, atol=1e-12
    )
    if kind == "free":
        np.testing.assert_allclose(model.write(z).detach(), wanted, atol=1e-12)


def test_teacher_forcing_is_torchs_network_on_the_true_values():
    model, d = simple(), torch.randn(3, 7, 2).double()
    z = torch.randn(3, 4, 2).double()
    networks = []
    for cell in (model.encoder.cell, model.decoder.cell.cell):
        theirs = nn.RNN(2, 5, batch_first=True).double()
        with torch.no_grad():
            theirs.weight_ih_l0.copy_(cell.W.weight)
            theirs.weight_hh_l0.copy_(cell.U.weight)
            theirs.bias_ih_l0.copy_(cell.W.bias)
            theirs.bias_hh_l0.zero_()
        networks.append(theirs)
    _, end = networks[0](z)
    wanted = model.decoder.cell.readout(networks[1](d, end)[0])
    written = model.write(z[:, :4], decoder_input(d, torch.ones(3, 7, 1).double()))
    torch.testing.assert_close(written, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_encoder_and_decoder_apart_write_the_same_step_by_step(cell):
    kind = CELLS[cell]
    model = randomised(SeriesSeq2Seq(Bidirectional(kind(1, 4)), kind(1, 6)))
    z = torch.randn(3, 9, 1).double()
    state = model.encode(z)
    assert not state[0].any()  # y⁰ = 0
    nothing, steps = z.new_zeros(3, 1, 2), []
    for _ in range(9):
        y, state = model.decode(state, nothing)
        steps.append(y)
    assert len({step[0, 0].item() for step in steps}) == 9
    torch.testing.assert_close(torch.cat(steps, 1), model.write(z), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_that_reads_its_output_is_proved(cell):
    report = saiki.check(Recurrent(Feedback(CELLS[cell](2, 3))))
    assert report.passed, str(report)


def test_the_gradient_goes_back_through_what_was_written():
    model, z = simple(), torch.randn(2, 5, 2).double()
    weights = [model.decoder.cell.readout.weight, model.encoder.cell.W.weight]
    names = ["decoder.cell.readout.weight", "encoder.cell.W.weight"]

    def write(*values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (z,))

    assert torch.autograd.gradcheck(write, [w.detach().requires_grad_() for w in weights])


def test_numbers_are_those_of_the_user_outside_and_normalised_inside():
    units = Units(10.0, 4.0), Units(-3.0, 0.5)
    model, x = simple(reads=units[0], writes=units[1]), torch.randn(2, 5, 2).double()
    torch.testing.assert_close(model(10 + 4 * x), -3 + 0.5 * model.write(x))
    np.testing.assert_allclose(units[0].normalised(np.array([10.0, 14.0])), [0, 1])
    with pytest.raises(InputError, match=r"^scale must be above 0, got 0$"):
        Units(1.0, 0)


def test_it_is_made_again_from_its_description():
    parts = Stack([Bidirectional(GRU(1, 3)), LSTM(6, 4)]), SimpleRNN(1, 5)
    model = randomised(SeriesSeq2Seq(*parts, Units(1.0, 2.0), Units(3.0, 4.0)))
    restored = make(describe(model)).double()
    restored.load_state_dict(model.state_dict())
    x = torch.randn(2, 6, 1).double()
    assert torch.equal(restored(x), model(x))


def test_a_decoder_is_a_cell():
    with pytest.raises(InputError, match=r"^the decoder must be a Cell, got Recurrent$"):
        SeriesSeq2Seq(GRU(1, 3), Recurrent(GRU(1, 3)))

"""The classifier: the same by torch.nn, rows alone and in a batch, and back from its files."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import saiki
from saiki import Bidirectional, Recurrent, Stack
from saiki.cells import GRU, LSTM, SimpleRNN
from saiki.errors import InputError
from saiki.models.classifier import Convolution, RecordingNorm, SequenceClassifier
from saiki.nn.mel import LogMel, Samples
from saiki.nn.pooling import POOLINGS, real_steps

pytestmark = pytest.mark.one_in(2)

CLASSES = ("ja", "nein", "vielleicht")
CELLS = {"rnn": SimpleRNN, "lstm": LSTM, "gru": GRU}


def ragged(*counts):
    lengths = torch.tensor(counts)
    waves = torch.randn(len(counts), max(counts), dtype=torch.float64)
    return waves * (torch.arange(waves.shape[1]) < lengths[:, None]), lengths


def classifier(cell=GRU, pooling="attention", convolution=True, layers=2, **arguments):
    """A small one over log-mel features."""
    features, front, size = LogMel(8_000, 7), None, 14
    if convolution:
        front, size = Convolution(7, 2, 6, (3, 4)), 6
    stack = []
    for _ in range(layers):
        stack.append(Bidirectional(cell(size, 5)))
        size = 10
    recurrent = stack[0] if layers == 1 else Stack(stack, 0.2)
    return SequenceClassifier(features, CLASSES, recurrent, pooling, front, **arguments).double()


def close(a, b, tolerance=1e-10):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ("cell", "pooling", "convolution", "layers"),
    [
        ("lstm", "attention", True, 2),
        ("gru", "mean", True, 1),
        ("rnn", "last", True, 2),
        ("gru", "attention", False, 1),
        ("lstm", "last", False, 1),
        ("rnn", "mean", False, 2),
    ],
)
def test_a_row_alone_is_the_row_in_a_ragged_batch(cell, pooling, convolution, layers):
    model = classifier(CELLS[cell], pooling, convolution, layers).eval()
    waves, lengths = ragged(2_000, 801, 5_000, 1, 333)
    together = model(waves, lengths)
    assert together.shape == (5, 3)
    for i, length in enumerate(lengths.tolist()):
        close(model(waves[i : i + 1, :length], lengths[i : i + 1])[0], together[i])
    assert (together[0] - together[1]).abs().max() > 1e-6


def test_padding_that_holds_rubbish_does_not_matter():
    model = classifier().eval()
    waves, lengths = ragged(2_000, 801)
    rubbish = waves.masked_fill(torch.arange(2_000) >= lengths[:, None], 7.0)
    close(model(rubbish, lengths), model(waves, lengths))


@pytest.mark.parametrize("steps", [None, torch.tensor([9, 4, 1, 8])])
@pytest.mark.parametrize("pooling", [*POOLINGS, "attention+max"])
def test_features_made_before_give_what_their_steps_say(pooling, steps):
    model = classifier(pooling=pooling).eval()
    z = torch.randn(4, 9, 14, dtype=torch.float64)
    if steps is not None:
        z = z * real_steps(z, steps)[..., None]
    together = model.classify(z, steps)
    for i in range(4):
        own = 9 if steps is None else int(steps[i])
        alone = None if steps is None else steps[i : i + 1]
        close(model.classify(z[i : i + 1, :own], alone)[0], together[i])


def test_the_model_of_the_report_has_35082_parameters():
    model = SequenceClassifier(
        Samples(1000), [str(d) for d in range(10)], Bidirectional(LSTM(1, 64)), "last"
    )
    # 2 · 4 · 64 · (1 + 64 + 1) and 128 · 10 + 10
    assert sum(p.numel() for p in model.recurrent.parameters()) == 33_792
    assert sum(p.numel() for p in model.readout.parameters()) == 1_290
    assert sum(p.numel() for p in model.parameters()) == 35_082
    assert model(torch.randn(2, 700), torch.tensor([700, 20])).shape == (2, 10)


def torchs(model, hidden_size):
    """torch.nn.LSTM with the weights of the model's only layer."""
    theirs = nn.LSTM(1, hidden_size, batch_first=True, bidirectional=True).double()
    layers = model.recurrent.forward_layer, model.recurrent.backward_layer
    with torch.no_grad():
        for layer, suffix in zip(layers, ("l0", "l0_reverse"), strict=True):
            cell = layer.cell
            getattr(theirs, f"weight_ih_{suffix}").copy_(cell.W.weight)
            getattr(theirs, f"weight_hh_{suffix}").copy_(cell.U.weight)
            getattr(theirs, f"bias_ih_{suffix}").copy_(cell.b)
            getattr(theirs, f"bias_hh_{suffix}").zero_()
    return theirs


@pytest.mark.parametrize("pooling", ["last", "mean"])
def test_the_logits_are_those_of_torch_with_the_same_weights(pooling):
    recurrent = Bidirectional(LSTM(1, 7))
    model = SequenceClassifier(Samples(60), CLASSES, recurrent, pooling).double()
    waves, lengths = ragged(41, 90, 1)
    theirs = torchs(model, 7)
    x = torch.zeros(3, 60, 1, dtype=torch.float64)
    for row, wave, length in zip(x, waves, lengths.tolist(), strict=True):
        row[: min(length, 60), 0] = wave[: min(length, 60)]
    y, (h, _) = theirs(x)
    u = torch.cat((h[0], h[1]), -1) if pooling == "last" else y.mean(1)
    want = F.linear(u, model.readout.weight, model.readout.bias)
    close(model(waves, lengths), want)
    ours, reference = (
        torch.autograd.grad(v.square().sum(), w)
        for v, w in (
            (model(waves, lengths), (recurrent.forward_layer.cell.U.weight,)),
            (want, (theirs.weight_hh_l0,)),
        )
    )
    close(ours[0], reference[0])
    assert ours[0].abs().max() > 1e-6


def test_the_last_pooling_asks_the_top_layer_for_its_directions():
    one = Stack([Bidirectional(GRU(1, 4)), Recurrent(GRU(8, 6))])
    model = SequenceClassifier(Samples(9), CLASSES, one, "last").double().eval()
    waves, lengths = ragged(9, 9)
    _, states = one(waves[..., None])
    close(model(waves, lengths), model.readout(states[-1]))


def test_dropout_is_in_front_of_the_recurrent_and_the_last_layer_while_training():
    model = classifier(dropout=0.5, layers=1)
    seen = {}
    for name in ("recurrent", "readout"):
        module = model.get_submodule(name)
        module.register_forward_pre_hook(
            lambda _, inputs, name=name: seen.update({name: inputs[0]})
        )
    for training in (True, False):
        model.train(training)
        model(*ragged(4_000, 4_000))
        share = (seen["readout"] == 0).double().mean()
        assert (0.15 < share < 0.85) if training else share == 0
    model.train()
    z = torch.ones(2, 30, 14, dtype=torch.float64)
    model.front = None
    model.recurrent = Bidirectional(GRU(14, 5)).double()
    model.recurrent.register_forward_pre_hook(
        lambda _, inputs: seen.update({"recurrent": inputs[0]})
    )
    model.classify(z, None)
    assert set(seen["recurrent"].unique().tolist()) == {0.0, 2.0}
    assert 0.4 < (seen["recurrent"] == 0).double().mean() < 0.6


@pytest.mark.parametrize(
    ("cell", "pooling", "convolution"),
    [*itertools.product(["lstm"], POOLINGS, [True]), ("gru", "last", False), ("rnn", "mean", True)],
)
def test_a_saved_model_comes_back_with_the_same_logits(tmp_path, cell, pooling, convolution):
    model = classifier(CELLS[cell], pooling, convolution, dropout=0.4, rate=8_000).eval()
    waves, lengths = ragged(2_000, 900)
    model.save_pretrained(tmp_path / "model")
    restored = saiki.load(tmp_path / "model")
    assert not restored.training
    assert torch.equal(restored(waves, lengths), model(waves, lengths))
    assert (restored.classes, restored.rate, restored.dropout.p) == (CLASSES, 8_000, 0.4)


def test_a_model_of_samples_comes_back_too(tmp_path):
    model = SequenceClassifier(Samples(70), CLASSES, Bidirectional(LSTM(1, 4)), "last").eval()
    model.save_pretrained(tmp_path / "model")
    waves, lengths = torch.randn(2, 90), torch.tensor([90, 11])
    assert torch.equal(saiki.load(tmp_path / "model")(waves, lengths), model(waves, lengths))


def test_a_channel_is_normalised_over_the_real_steps_and_the_bands():
    norm = RecordingNorm(3).double()
    for p in norm.parameters():
        nn.init.normal_(p)
    x = 2 + 3 * torch.randn(2, 3, 5, 4, dtype=torch.float64)
    lengths = [5, 3]
    real = (torch.arange(5) < torch.tensor(lengths)[:, None])[:, None, :, None]
    ours = norm(x, real).detach().numpy()
    w, b = (p.detach().numpy()[:, 0, 0] for p in (norm.weight, norm.bias))
    for row, channel in itertools.product(range(2), range(3)):
        seen = x[row, channel, : lengths[row]].numpy()
        plain = (seen - seen.mean()) / np.sqrt(seen.var() + 1e-5)
        np.testing.assert_allclose(
            ours[row, channel, : lengths[row]], plain * w[channel] + b[channel], rtol=1e-10
        )
        np.testing.assert_array_equal(ours[row, channel, lengths[row] :], b[channel])


def test_what_is_in_front_of_the_layers_is_written():
    model = classifier()
    written = "z ← ReLU(W ReLU(norm(conv(ReLU(norm(conv(z)))))) + b)"
    assert model.equations().splitlines()[0] == written
    model.front = nn.Identity()
    assert model.equations().startswith("z ← Identity(z)\n")


@pytest.mark.parametrize("bands", [7, 8, 13])
def test_the_convolution_is_that_of_its_equations_and_halves_time(bands):
    front = Convolution(bands, 2, 5, (3, 4)).double()
    for p in front.parameters():
        nn.init.normal_(p, std=0.5)
    z = torch.randn(2, 9, 2 * bands, dtype=torch.float64)
    ours, steps = front(z, None)
    assert steps is None
    images = torch.stack((z[:, :, :bands], z[:, :, bands:]), 1)
    for conv, norm, stride in (
        (front.conv_1, front.norm_1, (1, 2)),
        (front.conv_2, front.norm_2, (2, 2)),
    ):
        size = conv.weight.shape[-1]
        images = F.conv2d(images, conv.weight, conv.bias, stride, size // 2)
        plain = F.instance_norm(images, eps=1e-5)
        images = (plain * norm.weight + norm.bias).relu()
    want = F.linear(
        images.permute(0, 2, 1, 3).reshape(2, 5, -1), front.linear.weight, front.linear.bias
    ).relu()
    assert ours.shape == (2, 5, 5)
    close(ours, want)


def test_the_convolution_of_a_ragged_row_has_half_its_steps_rounded_up():
    front = Convolution(7, 2, 5, (3, 4)).double()
    lengths = torch.tensor([9, 4, 1, 6, 5])
    z = torch.randn(5, 9, 14, dtype=torch.float64)
    z = z * real_steps(z, lengths)[..., None]
    together, steps = front(z, lengths)
    assert steps.tolist() == [5, 2, 1, 3, 3]
    for i, length in enumerate(lengths.tolist()):
        alone, own = front(z[i : i + 1, :length], lengths[i : i + 1])
        assert own.item() == alone.shape[1] == steps[i]
        close(alone[0], together[i, : own[0]])


def test_an_unknown_pooling_is_refused_in_a_sentence():
    with pytest.raises(InputError) as caught:
        classifier(pooling="sum")
    assert str(caught.value).startswith("pooling must be one of attention, mean, max, last, or")


def test_a_convolution_over_other_features_is_refused():
    with pytest.raises(InputError, match="reads 16 features of a frame, got 6"):
        Convolution(8, 2, 5)(torch.zeros(1, 9, 6), None)

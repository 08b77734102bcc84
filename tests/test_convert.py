"""Layers and weights from Keras, held to what Keras itself computes."""

import itertools
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

os.environ["KERAS_BACKEND"] = "jax"
jax = pytest.importorskip("jax")
keras = pytest.importorskip("keras")
h5py = pytest.importorskip("h5py")

from saiki import Bidirectional, Cell, InputError, Recurrent, Stack, convert  # noqa: E402
from saiki.cells import GRU, LSTM, SimpleRNN  # noqa: E402
from saiki.convert import from_keras, load_keras  # noqa: E402

# Keras reads its variables in a way that NumPy 2 has given up.
pytestmark = [
    pytest.mark.one_in(3),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

K = keras.layers
TOLERANCE = 2e-5
FAST = {"kernel_initializer": "zeros", "recurrent_initializer": "zeros"}  # no draw to compile
FULL = {"return_sequences": True, "return_state": True, **FAST}
FAMILIES = {K.SimpleRNN: SimpleRNN, K.LSTM: LSTM, K.GRU: GRU}
MERGES = {"concat": "concat", "sum": "sum", "ave": "mean", "mul": "mul"}

# A layer of Keras, its settings, and those of the cell here.
SETTINGS = {
    "rnn": (K.SimpleRNN, {}, {}),
    "rnn relu": (K.SimpleRNN, {"activation": "relu"}, {"activation": "relu"}),
    "rnn without bias": (K.SimpleRNN, {"use_bias": False}, {"bias": False}),
    "lstm": (K.LSTM, {}, {}),
    "lstm elu hard sigmoid": (
        K.LSTM,
        {"activation": "elu", "recurrent_activation": "hard_sigmoid"},
        {"activation": "elu", "recurrent_activation": "hard_sigmoid"},
    ),
    "lstm hard silu": (K.LSTM, {"activation": "hard_silu"}, {"activation": "hard_silu"}),
    "lstm celu relu6": (
        K.LSTM,
        {"activation": "celu", "recurrent_activation": "relu6"},
        {"activation": "celu", "recurrent_activation": "relu6"},
    ),
    "lstm without bias": (K.LSTM, {"use_bias": False}, {"bias": False}),
    "lstm with dropout": (K.LSTM, {"dropout": 0.5, "recurrent_dropout": 0.5}, {}),
    "gru": (K.GRU, {}, {}),
    "gru linear softmax": (
        K.GRU,
        {"activation": "linear", "recurrent_activation": "softmax"},
        {"activation": "identity", "recurrent_activation": "softmax"},
    ),
    "gru selu softsign": (
        K.GRU,
        {"activation": "selu", "recurrent_activation": "softsign"},
        {"activation": "selu", "recurrent_activation": "softsign"},
    ),
    "gru without bias": (K.GRU, {"use_bias": False}, {"bias": False}),
    "gru before": (K.GRU, {"reset_after": False}, {"reset": "before"}),
    "gru before without bias": (
        K.GRU,
        {"reset_after": False, "use_bias": False},
        {"reset": "before", "bias": False},
    ),
}


def randomised(layer, input_size=3):
    """The layer, built, with every weight and bias drawn at random."""
    if not layer.built:
        layer.build((None, None, input_size))
    random = np.random.default_rng(len(layer.get_weights()))
    layer.set_weights([random.normal(0, 0.5, w.shape) for w in layer.get_weights()])
    return layer


def inputs(batch=2, time=7, features=3):
    return np.random.default_rng(1).normal(size=(batch, time, features)).astype("float32")


def flat(values):
    if not isinstance(values, tuple | list):
        return [np.asarray(values)]
    return [array for value in values for array in flat(value)]


def eager(layer):
    """The layer without kernels, which take time to compile and are held to it elsewhere."""
    for module in layer.modules():
        if isinstance(module, Recurrent):
            module.backend = "eager"
    return layer


def assert_agree(ours, theirs, x, backwards=False, start=None):
    """Outputs of every step and last states; ``backwards`` where Keras turns its outputs round."""
    expected, state = flat(theirs(x) if start is None else theirs(x, initial_state=start)), None
    if start is not None:
        state = tuple(map(torch.from_numpy, start)) if len(start) > 1 else torch.from_numpy(*start)
    if backwards:
        expected[0] = expected[0][:, ::-1]
    with torch.no_grad():
        results = flat(eager(ours)(torch.from_numpy(x), state))
    assert len(results) == len(expected) > 1
    for a, b in zip(results, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)


def save(path, *layers):
    """A model of these layers, saved."""
    x = y = keras.Input((None, 3))
    for layer in layers:
        y = layer(y)
    keras.Model(x, y).save_weights(path)
    return path


def arrays_in(path, **groups):
    """A file with arrays of the shapes given for each cell, numbered, in Keras' layout."""
    with h5py.File(path, "w") as file:
        for group, shapes in groups.items():
            for i, shape in enumerate(shapes):
                file[f"{group.replace('__', '/')}/vars/{i}"] = np.full(shape, 0.5, "float32")
    return path


@pytest.fixture(autouse=True)
def step_by_step():
    """Keras' loop as it is: JAX would compile it anew, and at leisure, for each layer."""
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.disable_jit():
        yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def weights(tmp_path):
    return tmp_path / "model.weights.h5"


def snapshot(layer):
    return {name: value.clone() for name, value in layer.state_dict().items()}


def assert_refused(layer, path, sentence, name=None):
    """``load_keras`` refuses, in one line, and leaves every bit of the weights as it was."""
    before = snapshot(layer)
    with pytest.raises(InputError, match=sentence) as caught:
        load_keras(layer, path, name)
    assert "\n" not in str(caught.value)
    for key, value in layer.state_dict().items():
        assert torch.equal(value, before[key])


# Live layers


@pytest.mark.parametrize("variant", SETTINGS)
def test_a_layer_computes_what_keras_computes(variant):
    kind, settings, _ = SETTINGS[variant]
    theirs = randomised(kind(5, **settings, **FULL))
    ours = from_keras(theirs)
    assert type(ours) is Recurrent
    assert not ours.reverse
    assert_agree(ours, theirs, inputs())


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_layer_that_goes_backwards_keeps_the_order_of_x(kind):
    theirs = randomised(kind(5, go_backwards=True, **FULL))
    ours = from_keras(theirs)
    assert ours.reverse
    assert_agree(ours, theirs, inputs(), backwards=True)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_layer_goes_on_from_a_given_state_with_a_batch_of_one(kind):
    theirs = randomised(kind(5, **FULL))
    start = [inputs(1, 1, 5)[:, 0] * k for k in range(1, len(theirs.state_size) + 1)]
    assert_agree(from_keras(theirs), theirs, inputs(1), start=start)


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("kind", FAMILIES)
def test_both_directions_compute_what_keras_computes(kind, merge):
    theirs = randomised(K.Bidirectional(kind(5, **FULL), merge_mode=merge))
    ours = from_keras(theirs)
    assert type(ours) is Bidirectional
    assert ours.merge == MERGES[merge]
    assert_agree(ours, theirs, inputs())


def test_lengths_take_the_place_of_a_mask():
    theirs = randomised(K.Bidirectional(K.LSTM(5, **FULL)))
    lengths = np.array([4, 7])
    expected = flat(theirs(inputs(), mask=np.arange(7) < lengths[:, None]))
    with torch.no_grad():
        ours = eager(from_keras(theirs))
        results = flat(ours(torch.from_numpy(inputs()), lengths=torch.from_numpy(lengths)))
    for a, b in zip(results, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE)


def test_the_directions_may_have_settings_of_their_own():
    backward = K.GRU(2, go_backwards=True, reset_after=False, **FULL)
    theirs = randomised(
        K.Bidirectional(K.GRU(5, activation="elu", **FULL), backward_layer=backward)
    )
    assert_agree(from_keras(theirs), theirs, inputs(1))


@pytest.mark.parametrize("backwards", [False, True])
def test_cells_on_top_of_each_other_become_a_stack(backwards):
    cells = [K.LSTMCell(4, **FAST), K.GRUCell(5, **FAST), K.SimpleRNNCell(2, **FAST)]
    theirs = randomised(
        K.RNN(cells, return_sequences=True, return_state=True, go_backwards=backwards)
    )
    ours = from_keras(theirs)
    assert [type(layer.cell) for layer in ours.layers] == [LSTM, GRU, SimpleRNN]
    assert_agree(ours, theirs, inputs(), backwards)


def test_a_sequential_becomes_a_stack_in_which_each_layer_reads_what_it_read_in_keras():
    def layer(kind, size, **settings):
        return kind(size, return_sequences=True, **settings, **FAST)

    parts = [
        layer(K.LSTM, 4),
        layer(K.GRU, 5, go_backwards=True),  # its outputs come last step first in Keras,
        K.Dropout(0.5),
        layer(K.SimpleRNN, 2),  # which so reads the last step first
        layer(K.LSTM, 3, go_backwards=True),
        K.Bidirectional(layer(K.GRU, 4)),
    ]
    theirs = randomised(keras.Sequential([keras.Input((None, 3)), *parts]))
    ours = from_keras(theirs)
    assert type(ours) is Stack
    assert [getattr(layer, "reverse", None) for layer in ours.layers] == [
        False, True, True, False, None
    ]  # fmt: skip
    with torch.no_grad():
        y, states = eager(ours)(torch.from_numpy(inputs()))
    assert len(states) == 5
    np.testing.assert_allclose(y, theirs(inputs()), rtol=TOLERANCE, atol=TOLERANCE)


def test_a_bidirectional_above_reversed_outputs_may_read_them_reversed_again():
    lower = K.GRU(4, go_backwards=True, return_sequences=True, **FAST)
    forward = K.LSTM(2, go_backwards=True, return_sequences=True, **FAST)
    backward = K.LSTM(2, return_sequences=True, **FAST)
    upper = K.Bidirectional(forward, backward_layer=backward)
    theirs = randomised(keras.Sequential([keras.Input((None, 3)), lower, upper]))
    with torch.no_grad():
        y, _ = eager(from_keras(theirs))(torch.from_numpy(inputs()))
    np.testing.assert_allclose(y, theirs(inputs()), rtol=TOLERANCE, atol=TOLERANCE)


def test_the_dtype_is_that_of_the_keras_weights():
    with jax.enable_x64(True):
        wide = randomised(K.GRU(5, dtype="float64", **FULL))
        ours, kernel = from_keras(wide), wide.get_weights()[0]
    assert {p.dtype for p in ours.parameters()} == {torch.float64}
    assert np.array_equal(ours.cell.W.weight[:5].detach().T, kernel[:, 5:10])  # those of r
    narrow = from_keras(randomised(K.LSTM(5, dtype="bfloat16", **FULL)))
    assert {p.dtype for p in narrow.parameters()} == {torch.bfloat16}


NAMES = [n for n in convert._ACTIVATIONS if hasattr(keras.activations, n)]


@pytest.mark.parametrize("name", NAMES)
def test_an_activation_of_one_name_is_one_function(name):
    x = np.concatenate([np.linspace(-9, 9, 103), [-3, -1, 0, 1, 3]]).astype("float32")[None]
    theirs = np.asarray(getattr(keras.activations, name)(x))
    cell = from_keras(randomised(K.SimpleRNN(1, activation=name, **FAST))).cell
    ours = cell.activation(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=1e-6)


def test_the_activations_that_both_have_are_all_found():
    names = "celu elu exponential gelu hard_sigmoid hard_silu hard_tanh leaky_relu linear"
    names += " log_sigmoid mish relu relu6 selu sigmoid silu softmax softplus softsign squareplus"
    assert sorted(NAMES) == [*names.split(), "swish", "tanh", "tanh_shrink"]


def test_an_activation_that_keras_has_under_two_names():
    layer = randomised(K.GRU(5, activation="hard_swish", recurrent_activation="relu6", **FULL))
    ours = from_keras(layer)
    assert (ours.cell.activation.name, ours.cell.recurrent_activation.name) == (
        "hard_silu",
        "relu6",
    )
    assert_agree(ours, layer, inputs())


class Other(K.LSTM):
    """What a subclass computes cannot be known."""


class OtherCell(K.LSTMCell):
    pass


REFUSED = {
    "not built": (lambda: K.LSTM(5), "'unbuilt' is not built"),
    "no merge": (
        lambda: K.Bidirectional(K.LSTM(5, **FULL), merge_mode=None),
        "merge_mode must be one of concat, sum, ave, mul, got None",
    ),
    "no equal": (lambda: K.Dense(5), "takes SimpleRNN, .*, got Dense"),
    "not of Keras": (lambda: torch.nn.LSTM(3, 5), "takes SimpleRNN, .*, got LSTM"),
    "a subclass": (lambda: Other(5, **FULL), "got Other"),
    "another cell": (lambda: K.RNN(OtherCell(5, **FAST)), "the cells SimpleRNNCell.*OtherCell in"),
    "not only recurrent": (
        lambda: keras.Sequential([K.LSTM(5, **FAST), K.Dense(2)]),
        "got Dense",
    ),
    "sparsemax": (
        lambda: K.LSTM(5, activation="sparsemax", **FULL),
        "Keras' own .*tanh.*, got sparsemax",
    ),
    "a gate's sparsemax": (
        lambda: K.GRU(5, recurrent_activation="sparsemax", **FULL),
        "got sparsemax",
    ),
    "an activation of one's own": (
        lambda: K.GRU(5, activation=lambda x: x, **FULL),
        "got .*lambda",
    ),
    "an activation that is a layer": (
        lambda: K.GRU(5, activation=K.LeakyReLU(negative_slope=0.1), **FULL),
        "got LeakyReLU",
    ),
    "both directions of a stack": (
        lambda: K.Bidirectional(K.RNN([K.GRUCell(5, **FAST), K.GRUCell(5, **FAST)])),
        "layers of one cell, got an RNN of several",
    ),
    "forward that goes backward": (
        lambda: K.Bidirectional(
            K.GRU(5, go_backwards=True, **FULL), backward_layer=K.GRU(5, **FULL)
        ),
        "reads from the last step to the first; only the backward layer may",
    ),
    "both directions above reversed outputs": (
        lambda: keras.Sequential(
            [
                K.GRU(5, go_backwards=True, return_sequences=True, **FAST),
                K.Bidirectional(K.GRU(5, **FAST)),
            ]
        ),
        "reads from the last step to the first",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_equal_is_refused(case):
    make, sentence = REFUSED[case]
    layer = make()
    if case == "not built":
        layer.name = "unbuilt"
    elif isinstance(layer, keras.layers.Layer):
        layer.build((None, None, 3))
    with pytest.raises(InputError, match=sentence) as caught:
        from_keras(layer)
    assert "\n" not in str(caught.value)


# Files


@pytest.mark.parametrize("variant", SETTINGS)
def test_a_file_fills_a_layer(variant, weights):
    kind, settings, ours = SETTINGS[variant]
    theirs = randomised(kind(5, **settings, **FULL))
    save(weights, theirs)
    layer = Recurrent(FAMILIES[kind](3, 5, **ours))
    load_keras(layer, weights)
    assert_agree(layer, theirs, inputs())


def test_a_file_fills_a_layer_that_has_already_run_and_keeps_its_dtype(weights):
    theirs = randomised(K.GRU(5, **FULL))
    save(weights, theirs)
    layer, x = Recurrent(GRU(3, 5)).double(), inputs()
    layer(torch.from_numpy(x).double())
    load_keras(layer, str(weights))
    y, _ = layer(torch.from_numpy(x).double())
    assert y.dtype == torch.float64
    np.testing.assert_allclose(y.detach(), theirs(x)[0], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_file_fills_both_directions(kind, weights):
    theirs = randomised(K.Bidirectional(kind(5, **FULL)))
    save(weights, theirs)
    layer = Bidirectional(FAMILIES[kind](3, 5))
    load_keras(layer, weights)
    assert_agree(layer, theirs, inputs())
    one = Recurrent(FAMILIES[kind](3, 5))
    load_keras(one, weights, "layers/bidirectional/backward_layer")
    assert torch.equal(one.cell.U.weight, layer.backward_layer.cell.U.weight)


def test_a_file_fills_a_stack_and_passes_over_what_is_not_recurrent(weights):
    layers = [
        K.LSTM(4, return_sequences=True, **FAST),
        K.Dense(4),
        K.Bidirectional(K.GRU(5, return_sequences=True, **FAST)),
        K.LSTM(4, return_sequences=True, dropout=0.1, **FAST),
        K.RNN([K.SimpleRNNCell(3, **FAST), K.GRUCell(2, **FAST), K.SimpleRNNCell(5, **FAST)]),
    ]
    model = randomised(keras.Sequential([keras.Input((None, 3)), *layers]))
    model.compile("adam", "mse")  # whose state lies in the file too
    model.save_weights(weights)
    inner = Stack([SimpleRNN(4, 3), GRU(3, 2), SimpleRNN(2, 5)])
    stack = Stack([LSTM(3, 4), Bidirectional(GRU(4, 5)), LSTM(10, 4), inner])
    load_keras(stack, weights)
    recurrent = [layer for layer in layers if not isinstance(layer, K.Dense)]
    for ours, theirs in zip(stack.layers, recurrent, strict=True):
        expected = from_keras(theirs).state_dict()
        assert ours.state_dict().keys() == expected.keys()
        assert all(torch.equal(a, expected[key]) for key, a in ours.state_dict().items())
    alone = Stack([SimpleRNN(4, 3), GRU(3, 2), SimpleRNN(2, 5)])
    load_keras(alone, weights, "layers/rnn")
    assert torch.equal(alone.layers[1].cell.b, inner.layers[1].cell.b)


def test_a_model_within_a_model_is_a_stack_within_a_stack(weights):
    inner = keras.Sequential([K.GRU(4, return_sequences=True, **FAST)], name="encoder")
    inner.build((None, None, 3))
    outer = keras.Sequential([inner, K.GRU(5, **FAST)])
    outer.build((None, None, 3))
    randomised(outer).save_weights(weights)
    stack = Stack([Stack([GRU(3, 4)]), GRU(4, 5)])
    load_keras(stack, weights)
    assert all(
        torch.equal(a, b)
        for a, b in zip(stack.parameters(), from_keras(outer).parameters(), strict=True)
    )
    load_keras(Stack([GRU(3, 4)]), weights, "encoder")


def test_the_twelfth_layer_of_a_class_follows_the_eleventh(weights):
    sizes = list(range(2, 15))
    names = ["layers__gru", *(f"layers__gru_{i}" for i in range(1, 12))]
    shapes = [[(a, 3 * b), (b, 3 * b)] for a, b in itertools.pairwise(sizes)]
    arrays_in(weights, **{f"{n}__cell": s for n, s in zip(names, shapes, strict=True)})
    stack = Stack(GRU(a, b, bias=False) for a, b in itertools.pairwise(sizes))
    load_keras(stack, weights)
    assert all((p == 0.5).all() for p in stack.parameters())


def test_layers_are_chosen_by_path_or_by_the_name_they_have_in_keras(weights):
    lower = randomised(K.LSTM(3, return_sequences=True, name="lower", **FAST))
    upper = randomised(K.LSTM(3, return_sequences=True, name="upper", **FAST))
    upper.set_weights([2 * w for w in upper.get_weights()])
    save(weights, lower, upper)
    layer = Recurrent(LSTM(3, 3))
    for names, theirs in ((["lower", "layers/lstm"], lower), (["upper", "layers/lstm_1"], upper)):
        expected = from_keras(theirs).cell.b
        for name in names:
            load_keras(layer, weights, name)
            assert torch.equal(layer.cell.b, expected)
    listing = (
        r"layers/lstm \(LSTM, 'lower'\), layers/lstm_1 \(LSTM, 'upper'\), / \(Stack of LSTM, LSTM"
    )
    assert_refused(layer, weights, f"holds more than one LSTM; name one: {listing}")
    assert_refused(layer, weights, f"holds no layer 'middle', only {listing}", "middle")
    assert_refused(Recurrent(GRU(3, 3)), weights, f"holds no GRU, only {listing}")
    assert_refused(Recurrent(GRU(3, 3)), weights, "does not fit a GRU", "upper")
    both = Bidirectional(LSTM(3, 3))
    assert_refused(both, weights, "holds no Bidirectional of LSTM, LSTM, only")
    assert_refused(Stack([LSTM(3, 3)]), weights, "does not fit a Stack of LSTM", "/")


def test_a_name_given_to_two_layers_is_ambiguous(weights):
    arrays_in(weights, a__cell=[(3, 5), (5, 5)], b__cell=[(3, 5), (5, 5)])
    with h5py.File(weights, "a") as file:
        file["a"].create_group("vars").attrs["name"] = "same"
        file["b"].create_group("vars").attrs["name"] = "same"
    layer = Recurrent(SimpleRNN(3, 5, bias=False))
    assert_refused(layer, weights, "more than one layer 'same'; name one: a", "same")
    load_keras(layer, weights, "b")


def test_an_order_that_the_file_does_not_hold_is_not_guessed(weights):
    save(
        weights,
        K.RNN(K.LSTMCell(3, **FAST), return_sequences=True),
        K.LSTM(3, return_sequences=True, **FAST),
    )
    stack = Stack([LSTM(3, 3), LSTM(3, 3)])
    assert_refused(stack, weights, "no Stack of LSTM, LSTM, only")
    for layer, name in zip(stack.layers, ("layers/rnn", "layers/lstm"), strict=True):
        load_keras(layer, weights, name)


@pytest.mark.parametrize(
    "layer",
    [
        Recurrent(GRU(4, 5)),
        Recurrent(GRU(3, 4)),
        Recurrent(GRU(3, 5, bias=False)),
        Recurrent(GRU(3, 5, reset="before")),
    ],
)
def test_other_shapes_are_refused(layer, weights):
    arrays_in(weights, layers__gru__cell=[(3, 15), (5, 15), (2, 15)])
    shapes = r"\[\(3, 15\), \(5, 15\), \(2, 15\)\]"
    assert_refused(layer, weights, f"layers/gru have the shapes {shapes}, and this GRU needs")


def test_one_shape_that_does_not_fit_keeps_the_whole_stack_as_it_was(weights):
    arrays_in(
        weights,
        layers__lstm__cell=[(3, 20), (5, 20), (20,)],
        layers__lstm_1__cell=[(5, 16), (4, 16), (16,)],
    )
    assert_refused(Stack([LSTM(3, 5), LSTM(5, 3)]), weights, r"lstm_1 .* needs \[\(5, 12\)")
    load_keras(Stack([LSTM(3, 5), LSTM(5, 4)]), weights)


def test_cells_that_keras_does_not_have_are_refused(weights):
    class Leaky(Cell):
        def __init__(self, input_size, hidden_size):
            super().__init__(input_size, hidden_size)
            self.W = torch.nn.Linear(input_size, hidden_size)

        def step(self, x, h):
            return 0.9 * h + self.W(x)

    arrays_in(weights, layers__lstm__cell=[(3, 20), (5, 20), (20,)])
    for settings in ({"peephole": True}, {"output_activation": False}, {"layer_norm": True}):
        assert_refused(Recurrent(LSTM(3, 5, **settings)), weights, "nothing added")
    assert_refused(Recurrent(Leaky(3, 5)), weights, "fills SimpleRNN, LSTM and GRU, got Leaky")
    assert_refused(torch.nn.LSTM(3, 5), weights, "fills a recurrent layer, got LSTM")


def test_files_that_cannot_be_read_are_refused(weights, tmp_path):
    layer = Recurrent(LSTM(3, 5))
    assert_refused(layer, weights, "model.weights.h5 does not exist")
    assert_refused(layer, tmp_path, "cannot be read")
    weights.write_bytes(b"\x80\x04not a file of arrays")
    assert_refused(layer, weights, "cannot be read as a .weights.h5 file")
    arrays_in(weights, layers__dense=[(3, 5), (5,)])
    assert_refused(layer, weights, "holds no recurrent layer as save_weights of Keras 3")
    arrays_in(weights, layers__lstm__cell=[(3, 20), (5, 20), (20,)])
    whole = weights.read_bytes()
    for length in range(0, len(whole) - 1, 500):
        weights.write_bytes(whole[:length])
        assert_refused(layer, weights, "cannot be read as a .weights.h5 file")
    weights.write_bytes(whole)
    load_keras(layer, weights)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_keras_file_fills_both_directions_and_what_it_says_of_code_is_never_run(kind, tmp_path):
    theirs = randomised(K.Bidirectional(kind(5, **FULL), name="both"))
    x = keras.Input((None, 3))
    y = theirs(x)[0]
    model = keras.Model(x, K.Lambda(lambda y: y / 2, output_shape=(None, 10))(y))
    path = tmp_path / "model.keras"
    model.save(path)
    layer = Bidirectional(FAMILIES[kind](3, 5))
    load_keras(layer, path)
    assert_agree(layer, theirs, inputs())
    one = Recurrent(FAMILIES[kind](3, 5))
    load_keras(one, path, "layers/bidirectional/forward_layer")
    assert torch.equal(one.cell.U.weight, layer.forward_layer.cell.U.weight)


def test_keras_files_that_cannot_be_read_are_refused(tmp_path):
    layer, path = Recurrent(LSTM(3, 5)), tmp_path / "model.keras"
    assert_refused(layer, path, "model.keras does not exist")
    path.write_bytes(b"\x80\x04not an archive")
    assert_refused(layer, path, "model.keras cannot be read: File is not a zip")
    weights = arrays_in(tmp_path / "w.h5", layers__lstm__cell=[(3, 20), (5, 20), (20,)])
    for member, sentence in (
        ("config.json", "holds no model.weights.h5, as model.save of Keras 3 writes it"),
        ("model.weights.h5", None),
    ):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(weights, member)
        if sentence:
            assert_refused(layer, path, sentence)
    load_keras(layer, path)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, 300):
        path.write_bytes(whole[:length])
        assert_refused(layer, path, "cannot be read")
    for at in range(60, len(whole) - 120, 211):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        assert_refused(layer, path, "cannot be read")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.weights.h5", b"not a file of arrays")
    assert_refused(layer, path, "cannot be read as a .weights.h5 file")
    path.unlink()
    path.mkdir()
    assert_refused(layer, path, "cannot be read: it is a folder")


@pytest.mark.parametrize(
    "text", ["once", ["a", "list"], b"bytes", np.array([b"fixed"] * 20), np.zeros(20, "i4,f4")]
)
def test_text_in_an_array_is_told(weights, text):
    arrays_in(weights, layers__lstm__cell=[(3, 20), (5, 20), (20,)])
    with h5py.File(weights, "a") as file:
        del file["layers/lstm/cell/vars/2"]
        file["layers/lstm/cell/vars/2"] = text
    wanted = "file: layers/lstm/cell/vars/2 holds text or records where numbers should be"
    assert_refused(Recurrent(LSTM(3, 5)), weights, wanted)


@pytest.mark.parametrize("name", ["pipe.keras", "pipe.weights.h5"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert_refused(Recurrent(LSTM(3, 5)), tmp_path / name, "cannot be read: it is a pipe")


def test_arrays_outside_the_file_are_never_read(weights, tmp_path):
    other = arrays_in(tmp_path / "other.h5", layers__lstm__cell=[(3, 20), (5, 20), (20,)])
    with h5py.File(weights, "w") as file:
        file["layers/lstm"] = h5py.ExternalLink(other, "/layers/lstm")
    layer = Recurrent(LSTM(3, 5))
    assert_refused(layer, weights, "holds no recurrent layer")
    raw = tmp_path / "raw"
    raw.write_bytes(bytes(4000))
    with h5py.File(weights, "w") as file:
        for i, shape in enumerate([(3, 20), (5, 20), (20,)]):
            at = f"layers/lstm/cell/vars/{i}"
            file.create_dataset(at, shape, "f4", external=[(raw, 0, h5py.h5f.UNLIMITED)])
    assert_refused(layer, weights, "holds no recurrent layer")


def test_a_file_of_bfloat16_fills_a_layer(weights):
    theirs = randomised(K.LSTM(5, dtype="bfloat16", **FAST))
    save(weights, theirs)
    layer = Recurrent(LSTM(3, 5))
    load_keras(layer, weights)
    for ours, expected in zip(layer.parameters(), from_keras(theirs).parameters(), strict=True):
        assert torch.equal(ours, expected.float())


# Without Keras


def test_what_is_missing_is_said(weights, monkeypatch):
    arrays_in(weights, layers__lstm__cell=[(3, 20), (5, 20), (20,)])
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert_refused(Recurrent(LSTM(3, 5)), weights, r"needs h5py: pip install 'saiki\[keras\]'")
    monkeypatch.setattr(keras, "__version__", "2.15.0")
    with pytest.raises(InputError, match=r"needs Keras 3, and Keras 2.15.0 is installed"):
        from_keras(None)
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(InputError, match=r"needs Keras 3: pip install 'saiki\[keras\]'"):
        from_keras(None)


def test_saiki_imports_neither_keras_nor_h5py():
    code = "import sys, saiki; saiki.convert; assert not {'keras', 'h5py'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

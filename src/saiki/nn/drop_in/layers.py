"""``RNN``, ``LSTM`` and ``GRU`` that take the place of those of ``torch.nn``.

They are subclasses: constructor, parameters, state dict, checks and errors are PyTorch's own. What
differs is who runs the time loop, and that the cell has options.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from saiki.errors import InputError
from saiki.layers.bidirectional import MERGES, merged
from saiki.layers.recurrent import BACKENDS, Recurrent
from saiki.layers.run import exporter, run_layers, watcher
from saiki.nn.drop_in.layout import (
    Family,
    GRUFamily,
    LSTMFamily,
    SimpleRNNFamily,
    parameter_names,
    parameter_shapes,
)
from saiki.nn.drop_in.noise import Noisy, dropout_mask, dropped, zoneout_mask
from saiki.nn.drop_in.rows import Rows
from saiki.nn.drop_in.short import Streamed, is_short, run_short
from saiki.saving.pretrained import DescribedModule
from saiki.torch_internals import (
    are_plain,
    is_autocast_on,
    is_disturbed,
    is_watched,
    is_written,
    leaf,
    shapes,
    undisturbed,
    unwatched,
)

Merge = Literal["concat", "sum", "mean", "mul"]


class Built(NamedTuple):
    """The directions of a layer. Their cells have no weights: those come with each call."""

    layers: tuple[Recurrent, ...]
    names: tuple[str, ...]
    """Of the parameters of their cells."""
    shapes: list[torch.Size]


class DropIn(Streamed, Family, DescribedModule, name="drop_in.layer.v1"):
    """What the three have in common; see each for its options.

    Shapes, arguments, initial weights and errors are those of the class of ``torch.nn`` with the
    same name. Further options, by keyword only:

    Args:
        merge: of the two directions; with ``"sum"``, ``"mean"`` or ``"mul"`` the output and the
            input of the layers above have ``hidden_size`` features instead of twice as many.
        recurrent_dropout: share of the features of h that the recurrent products do not see, the
            same ones at each step of a row, while training (Gal & Ghahramani 2016).
        zoneout: probability that a feature of the state keeps its old value at a step while
            training; otherwise old and new are mixed in that proportion (Krueger et al. 2017).
        backend: as in :class:`saiki.Recurrent`. With ``"auto"``, a layer without options runs on
            PyTorch's own kernels where there is none for the device or type of its input, and for
            short sequences, where PyTorch's are as fast.
    """

    _saiki_changing = ("_saiki_built",)
    torch_class: ClassVar[type[nn.RNNBase]]
    merge: Merge
    recurrent_dropout: float
    zoneout: float
    backend: str

    def __init__(
        self,
        *args: Any,
        merge: Merge = "concat",
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        backend: str = "auto",
        **kwargs: Any,
    ) -> None:
        options = self._options(kwargs)
        super().__init__(*args, **kwargs)
        self._setup(options, merge, recurrent_dropout, zoneout, backend)

    def _setup(
        self: Any,
        options: Mapping[str, Any],
        merge: Merge = "concat",
        recurrent_dropout: float = 0.0,
        zoneout: float = 0.0,
        backend: str = "auto",
    ) -> None:
        """Take the options, and add or replace the parameters that they change."""
        if merge not in MERGES:
            raise InputError(f"merge must be one of {', '.join(MERGES)}, got {merge!r}")
        for name, p in (("recurrent_dropout", recurrent_dropout), ("zoneout", zoneout)):
            if not isinstance(p, int | float) or not 0 <= p < 1:
                raise InputError(f"{name} must lie in [0, 1), got {p!r}")
        if backend not in BACKENDS:
            raise InputError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
        self.options = self._checked(options)
        self.merge, self.backend = merge, backend
        self.recurrent_dropout, self.zoneout = recurrent_dropout, zoneout
        self._saiki_built: dict[tuple[Any, ...], Built] = {}
        if not self.is_plain and self._shape_parameters():
            self.reset_parameters()

    @property
    def is_plain(self: Any) -> bool:
        """Whether it computes what the class of ``torch.nn`` computes."""
        noise = self.recurrent_dropout or self.zoneout
        return self.options == self.defaults and self.merge == "concat" and not noise

    def _layers(
        self: Any, layer: int, dtype: torch.dtype, dropout: bool = False, zoneout: bool = False
    ) -> Built:
        """The directions of a layer whose input is of that type."""
        concat = 2 if self.bidirectional and self.merge == "concat" else 1
        size = self.input_size if layer == 0 else concat * (self.proj_size or self.hidden_size)
        # a trace or an exported program may hold no operations that only this process knows
        backend: Any = "eager" if self.backend == "auto" and is_written() else self.backend
        key = size, dtype, dropout, zoneout, backend
        if key not in self._saiki_built:
            # under torch.vmap nothing may be drawn, not even weights without numbers
            with unwatched(), torch.device("meta"):
                cell = self._cell(size)
                if dropout or zoneout:
                    cell = Noisy(cell, dropout, zoneout)
                cell.to(dtype)
                layers = [Recurrent(cell, reverse, backend) for reverse in self._directions]
            for other in layers[1:]:
                other._saiki_kernels = layers[0]._saiki_kernels
            wanted = shapes(cell.parameters())
            self._saiki_built[key] = Built(tuple(layers), parameter_names(cell), wanted)
        return self._saiki_built[key]  # type: ignore[no-any-return]

    @property
    def _directions(self: Any) -> list[bool]:
        """Whether each is reversed."""
        return [False, True] if self.bidirectional else [False]

    def _shape_parameters(self: Any) -> bool:
        """Give the parameters the shapes the cell has, and add those that ``torch.nn`` lacks.

        Returns whether there were any such.
        """
        like, groups, new = self.weight_hh_l0, iter(self._all_weights), False
        for layer in range(self.num_layers):
            cell = self._layers(layer, like.dtype).layers[0].cell
            named = parameter_shapes(cell, self.bias)
            for reverse in self._directions:
                group = next(groups)
                for name, shape in named.items():
                    full = f"{name}_l{layer}{'_reverse' if reverse else ''}"
                    if full not in group:
                        group.append(full)
                    if full not in self._parameters or self._parameters[full].shape != shape:
                        setattr(self, full, nn.Parameter(like.new_empty(shape)))
                        new = True
        self._flat_weights_names = [name for group in self._all_weights for name in group]
        self._init_flat_weights()
        return new

    def flatten_parameters(self: Any) -> None:
        """As in ``torch.nn``; cuDNN knows no options, so that with them nothing is done."""
        if "options" not in self.__dict__ or self.is_plain:
            super().flatten_parameters()  # type: ignore[misc]

    def forward(self: Any, input: Any, hx: Any = None) -> Any:
        """Input, initial and last states as in ``torch.nn``, a ``PackedSequence`` included."""
        if torch.compiler.is_exporting():
            if self.is_plain and self.backend == "auto":
                return super().forward(input, hx)
            return self._forward.__wrapped__(self, input, hx)
        if torch.compiler.is_dynamo_compiling() or is_disturbed():
            return self._forward(input, hx)
        return self._forward.__wrapped__(self, input, hx)

    @undisturbed  # type: ignore[untyped-decorator]
    def _forward(self: Any, input: Any, hx: Any) -> Any:
        if not isinstance(input, Tensor | PackedSequence):
            node = leaf(self, input, hx)
            if node is not None:
                return node
        if not self._weights_are_attributes():
            self._update_flat_weights()
        if self._is_short(input):
            return run_short(self, input, hx) or super().forward(input, hx)
        ours = self._serves(input, hx) or watcher() is not None
        if not ours and self.is_plain and self.backend == "auto":
            return super().forward(input, hx)
        rows = Rows.of(input, self.torch_class.__name__, self.batch_first)
        states = rows.states(hx, self)
        if rows.batch_sizes is None and self._has_no_loop(rows.x):
            y, ends = self._once(rows.x, states)
        else:
            y, ends = self._run(rows.x, states, rows.batch_sizes, self.training)
        y, ends = rows.results(y, ends)
        return y, tuple(ends) if self.mode == "LSTM" else ends[0]

    def _weights_are_attributes(self: Any) -> bool:
        """Whether each of ``_flat_weights`` was, when they were set, what is registered under its
        name now; a quick test that lets most calls do without the one of ``torch.nn``."""
        registered = self._parameters
        pairs = zip(self._flat_weight_refs, self._flat_weights_names, strict=True)
        return all(ref is not None and ref() is registered.get(name) for ref, name in pairs)

    def _serves(self: Any, input: Any, hx: Any) -> bool:
        """Whether there is a kernel of ours for such input and states."""
        x = input.data if isinstance(input, PackedSequence) else input
        states = hx if isinstance(hx, tuple | list) else () if hx is None else (hx,)
        weights = self._flat_weights
        return (
            are_plain((x, *states, *weights))
            and x.dtype in (torch.float32, torch.float64)
            and x.is_cpu
            and 0 not in x.shape
            and len(states) in (0, len(self.state_sizes))
            and len(weights) == len(self._flat_weights_names)
            and not is_watched()
        )

    def _is_short(self: Any, input: Any) -> bool:
        """Whether PyTorch's own loop over a sequence is as fast."""
        if type(input) is not Tensor or input.dtype != torch.float32:
            return False
        if input.is_nested or input.dim() != 3:
            return False
        rows, steps = input.shape[:2] if self.batch_first else input.shape[1::-1]
        grad = torch.is_grad_enabled() and any(
            w.requires_grad for w in self._flat_weights if w is not None
        )
        return (
            is_short(self.mode, rows, steps, self.hidden_size, 1 + self.bidirectional, grad)
            and self.is_plain
            and self.backend == "auto"
            and not self.proj_size
            and not (self.dropout > 0 and self.training)
            and watcher() is None
            and exporter() is None
        )

    @property
    def state_sizes(self: Any) -> tuple[int, ...]:
        """Features of each state, the first of which is the output."""
        h = self.proj_size or self.hidden_size
        return (h, self.hidden_size) if self.mode == "LSTM" else (h,)

    def _run(
        self: Any,
        x: Tensor,
        states: Sequence[Tensor],
        batch_sizes: Tensor | None,
        training: bool,
    ) -> tuple[Tensor, list[Tensor]]:
        """All layers on top of each other; x is batched or packed."""
        if is_autocast_on():  # the noise, too, is of the type of the weights
            x, *states = (t.to(self._flat_weights[0].dtype) for t in (x, *states))
        ends: list[tuple[Tensor, ...]] = []
        directions = self._directions
        noisy = training and self.recurrent_dropout > 0
        for layer in range(self.num_layers):
            if layer > 0 and self.dropout > 0:
                x = dropped(x, self.dropout, training, not self.batch_first)
            built = self._layers(layer, x.dtype, noisy, self.zoneout > 0)
            layers = built.layers
            first = layer * len(directions)
            starts = [tuple(s[first + i] for s in states) for i in range(len(directions))]
            if noisy:
                starts = [(*s, dropout_mask(s[0], self.recurrent_dropout)) for s in starts]
            inputs = [x] * len(layers)
            if self.zoneout > 0:
                features = sum(s.shape[-1] for s in states)
                inputs = [
                    torch.cat((x, zoneout_mask(x, features, self.zoneout, training)), -1)
                    for _ in layers
                ]
            tensors = self._weights(built, layer)
            y, last = _run_directions(
                layers, inputs, starts, batch_sizes, tensors, not self.batch_first
            )
            ends += last
            x = merged(y, self.merge, layers[0].output_size) if len(layers) > 1 else y
        count = len(states)
        if len(ends) == 1:
            return x, [state.unsqueeze(0) for state in ends[0][:count]]
        return x, [torch.stack([end[i] for end in ends]) for i in range(count)]

    def _weights(self: Any, built: Built, layer: int) -> list[list[Tensor]]:
        """What the cells of each direction of a layer take as their parameters."""
        flat = dict(zip(self._flat_weights_names, self._flat_weights, strict=True))
        ends = (f"_l{layer}{'_reverse' if d.reverse else ''}" for d in built.layers)
        weights = [self._tensors(built.names, end, flat.__getitem__) for end in ends]
        for own in weights:
            if shapes(own) != built.shapes:
                wanted, got = (list(map(tuple, s)) for s in (built.shapes, shapes(own)))
                raise InputError(
                    f"layer {layer} of {self} takes weights and biases of the shapes {wanted}, "
                    f"got {got}"
                )
        return weights

    def arguments(self: Any) -> dict[str, Any]:
        names = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout"]
        names += ["bidirectional", "merge", "recurrent_dropout", "zoneout", "backend"]
        names += {"LSTM": ["proj_size"], "GRU": []}.get(self.mode, ["nonlinearity"])
        return {**{name: getattr(self, name) for name in names}, **self.options}

    def extra_repr(self: Any) -> str:
        more = {k: v for k, v in self.options.items() if v != self.defaults[k]}
        noise = {"recurrent_dropout": self.recurrent_dropout, "zoneout": self.zoneout}
        more |= {name: p for name, p in noise.items() if p}
        if self.merge != "concat":
            more["merge"] = self.merge
        own: str = super().extra_repr()
        return ", ".join([own, *(f"{name}={value}" for name, value in more.items())])

    def __getstate__(self: Any) -> dict[str, Any]:
        """Copies and pickles leave the kernels behind; they are compiled again when needed."""
        state: Any = super().__getstate__()
        return {**state, "_saiki_built": {}}


def _run_directions(
    layers: Sequence[Recurrent],
    inputs: Sequence[Tensor],
    starts: Sequence[tuple[Tensor, ...]],
    batch_sizes: Tensor | None,
    tensors: Sequence[Sequence[Tensor]],
    time_first: bool,
) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
    """Directions that read the same input in one operation, and others one by one."""
    time_first = time_first and batch_sizes is None
    if all(x is inputs[0] for x in inputs):
        return run_layers(layers, inputs[0], starts, batch_sizes, tensors, time_first)
    outputs, ends = [], []
    for layer, x, start, own in zip(layers, inputs, starts, tensors, strict=True):
        y, end = run_layers([layer], x, [start], batch_sizes, [own], time_first)
        outputs.append(y)
        ends += end
    return torch.cat(outputs, -1), ends


class RNN(DropIn, SimpleRNNFamily, nn.RNN, name="drop_in.rnn.v1"):
    __doc__ = f"""``torch.nn.RNN`` with any activation.

    h ← f(W_ih x + b_ih + W_hh h + b_hh)

    {DropIn.__doc__}
        activation: f, a name of :mod:`saiki.activations` or any callable, in place of
            ``nonlinearity``.
    """
    torch_class = nn.RNN


class LSTM(DropIn, LSTMFamily, nn.LSTM, name="drop_in.lstm.v1"):
    __doc__ = f"""``torch.nn.LSTM`` with the variants of :class:`saiki.cells.LSTM`.

    {DropIn.__doc__}
        peephole, activation, recurrent_activation, input_gate, forget_gate, output_gate,
        input_activation, output_activation, coupled, layer_norm: as in :class:`saiki.cells.LSTM`.
            Peepholes are ``weight_ph_l0`` and so on, (gates, hidden_size), in the order i, f, o; a
            gate that is switched off has no rows in the weights.
    """
    torch_class = nn.LSTM


class GRU(DropIn, GRUFamily, nn.GRU, name="drop_in.gru.v1"):
    __doc__ = f"""``torch.nn.GRU`` with the variants of :class:`saiki.cells.GRU`.

    {DropIn.__doc__}
        reset, activation, recurrent_activation: as in :class:`saiki.cells.GRU`.
    """
    torch_class = nn.GRU

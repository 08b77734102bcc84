"""The rows that a call is given: a batch of them, a single one, or ragged ones that are packed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

States = tuple[Tensor, ...]


class Rows(NamedTuple):
    """What a layer reads, and what makes its outputs and states those of the caller's rows."""

    x: Tensor
    """A batch, or the steps of packed rows."""
    batch_sizes: Tensor | None = None
    """Of packed rows, the longest first: how many have each step."""
    order: Tensor | None = None
    """Of packed rows, where they stood before they were sorted by length."""
    back: Tensor | None = None
    """And where each of those stands now."""
    single: int | None = None
    """The dimension of x that a single row did not have."""

    @classmethod
    def of(cls, input: Tensor | PackedSequence, name: str, batch_first: bool) -> "Rows":
        """The input of a layer.

        Raises:
            ValueError, RuntimeError: as ``torch.nn`` does for the layer of that name.
        """
        if isinstance(input, PackedSequence):
            return cls(*input)
        if input.dim() not in (2, 3):
            noun = "D tensor" if name == "RNN" else "D"
            raise ValueError(
                f"{name}: Expected input to be 2D or 3D, got {input.dim()}{noun} instead"
            )
        single = None if input.dim() == 3 else 0 if batch_first else 1
        x = input if single is None else input.unsqueeze(single)
        if x.shape[batch_first] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        return cls(x, single=single)

    def states(self, hx: Any, layer: Any) -> States:
        """The initial states in the order of x, zeros where none are given.

        Raises:
            RuntimeError: as ``torch.nn`` does where they do not fit.
        """
        sizes = layer.state_sizes
        if hx is None:
            layer.check_input(self.x, self.batch_sizes)
            if self.batch_sizes is None:
                rows = self.x.shape[not layer.batch_first]
            else:
                rows = int(self.batch_sizes[0])
            count = layer.num_layers * (1 + layer.bidirectional)
            return tuple(self.x.new_zeros(count, rows, size) for size in sizes)
        states = (hx,) if len(sizes) == 1 else tuple(hx)
        if len(states) != len(sizes):
            raise RuntimeError("lstm expects two hidden states")
        if self.batch_sizes is None:
            _check_dimensions(states, 2 if self.single is not None else 3)
        if self.single is not None:
            states = tuple(state.unsqueeze(1) for state in states)
        hidden = states if len(sizes) > 1 else states[0]
        hidden = layer.permute_hidden(hidden, self.order)
        layer.check_forward_args(self.x, hidden, self.batch_sizes)
        return tuple(hidden) if len(sizes) > 1 else (hidden,)

    def results(self, y: Tensor, ends: Sequence[Tensor]) -> tuple[Any, Sequence[Tensor]]:
        """Outputs and last states as the caller's rows have them."""
        if self.batch_sizes is not None:
            if self.back is not None:
                ends = [end.index_select(1, self.back) for end in ends]
            return PackedSequence(y, self.batch_sizes, self.order, self.back), ends
        if self.single is not None:
            return y.squeeze(self.single), [end.squeeze(1) for end in ends]
        return y, ends


def _check_dimensions(states: States, wanted: int) -> None:
    if all(state.dim() == wanted for state in states):
        return
    kind = f"{'' if wanted == 3 else 'un'}batched {wanted}-D input"
    if len(states) == 1:
        raise RuntimeError(
            f"For {kind}, hx should also be {wanted}-D but got {states[0].dim()}-D tensor"
        )
    raise RuntimeError(
        f"For {kind}, hx and cx should also be {wanted}-D but got "
        f"({states[0].dim()}-D, {states[1].dim()}-D) tensors"
    )

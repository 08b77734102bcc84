"""What was seen of each recurrent layer in one forward and backward pass."""

import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from saiki.activations import CATALOGUE, Activation

EDGE = 0.05
"""A unit is saturated within this share of a bounded range, or within it of the only bound."""


@dataclass(frozen=True)
class Statistics:
    """One named quantity over all rows, units and time steps."""

    mean: float
    std: float
    minimum: float
    maximum: float
    saturated: float | None
    """Share of values at the edge of the activation's range; None if no activation made it."""


@dataclass
class LayerView:
    """One recurrent layer during one forward and backward pass."""

    gradient: dict[str, list[float]] = field(default_factory=dict)
    """Norm of ∂L/∂s over rows and units for each state s, at each time step of the input."""
    values: dict[str, Statistics] = field(default_factory=dict)
    """States, gates and whatever else ``step`` names."""
    first_infinite: int | None = None
    """The first time step, in the order of computation, with a state that is not finite."""
    first_infinite_state: str | None = None
    """Which state that is."""
    reverse: bool = False
    """Whether the layer reads from the last time step to the first."""
    states: dict[str, Tensor] = field(default_factory=dict, compare=False, repr=False)
    """Each state of the longest row at each time step of the input, ``(time, units)``; none of what
    was read from a file."""

    def to_dict(self) -> dict[str, Any]:
        return {
            "gradient": self.gradient,
            "values": {name: vars(s) for name, s in self.values.items()},
            "first_infinite": self.first_infinite,
            "first_infinite_state": self.first_infinite_state,
            "reverse": self.reverse,
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> "LayerView":
        """From what :meth:`to_dict` gave, out of a file: what was not finite there is NaN.

        Raises:
            LookupError, TypeError, ValueError or AttributeError: it is something else.
        """
        gradient = {s: [_out_of_file(n) for n in norms] for s, norms in values["gradient"].items()}
        named = {}
        for name, fields in values["values"].items():
            saturated = fields.pop("saturated")
            numbers = {key: _out_of_file(value) for key, value in fields.items()}
            edge = None if saturated is None else _out_of_file(saturated)
            named[name] = Statistics(**numbers, saturated=edge)
        first, state = values["first_infinite"], values.get("first_infinite_state")
        if not gradient or not all(gradient.values()):
            raise ValueError("a layer without gradients")
        return cls(
            gradient,
            named,
            None if first is None else int(first),
            None if state is None else str(state),
            bool(values["reverse"]),
        )


def _out_of_file(value: float | None) -> float:
    """A number out of JSON, where what is not finite is null."""
    return math.nan if value is None else 0.0 + value


View = dict[str, LayerView]


def statistics(values: Tensor, activation: str | Activation | None = None) -> Statistics:
    """Mean, spread, extremes and share of saturated units of what ``activation`` returned."""
    return Statistics(
        mean=values.mean().item(),
        std=values.std(correction=0).item(),
        minimum=values.min().item(),
        maximum=values.max().item(),
        saturated=None if activation is None else saturated(values, activation),
    )


def saturated(values: Tensor, activation: str | Activation) -> float | None:
    """Share of ``values`` at a finite edge of the range of ``activation``; None if it has none."""
    function = CATALOGUE[activation] if isinstance(activation, str) else activation
    low, high = function.range
    margin = EDGE * (high - low) if math.isfinite(high - low) else EDGE
    if low == -math.inf and high == math.inf:
        return None
    if function.name == "relu":
        margin = 0.0  # off or on: nothing in between
    at_edge = (values <= low + margin) | (values >= high - margin)
    return at_edge.float().mean().item()

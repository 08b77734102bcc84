"""Programs: what one time step of a loop does, in an order that any device can follow.

A program is a chain of stages, each some matrix products followed by pointwise work over features,
on arrays that say how they are laid out and nothing of where. The :class:`Scheduler` builds one
from what can be read at the start of a step and what must be written by its end.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from saiki.compiler.trace.nodes import Node, is_extent

ArrayKind = Literal["step", "row", "column", "vector", "weight"]


@dataclass(frozen=True, eq=False)
class Array:
    """Numbers that a loop reads or writes.

    ``step``: one row for each row of the batch at each time step; ``row``: one for each row of the
    batch; ``column``: the same, of a matrix that lies column by column and is multiplied;
    ``vector``: one for all; ``weight``: a matrix ``(inner, width)``. A ``row`` of memory may be
    such a matrix too.
    """

    name: str
    kind: ArrayKind
    width: int
    inner: int = 1


@dataclass(frozen=True)
class Product:
    """target ← source · weight, from column ``column`` of the source on."""

    node: Node
    source: Array
    column: int
    weight: Array
    target: Array


@dataclass(frozen=True)
class Store:
    """array[:, column:] ← value, or += where it accumulates over time."""

    node: Node
    array: Array
    column: int = 0
    accumulate: bool = False


@dataclass
class Loop:
    """Pointwise work over ``width`` features, row by row; reductions over them end in ``sums``."""

    width: int
    stores: list[Store] = field(default_factory=list)
    sums: list[tuple[Node, Array]] = field(default_factory=list)


@dataclass
class Grid:
    """Pointwise work over ``outer`` times ``inner`` features, row by row, written nowhere as such:
    it ends in sums over one of them, or is added to what accumulates over time."""

    outer: int
    inner: int
    leaves: dict[Node, tuple[Array, int]] = field(default_factory=dict)
    """Where vectors are that lie beside all places of the other feature, and parameters."""
    over_inner: list[tuple[Node, Array]] = field(default_factory=list)
    over_outer: list[tuple[Node, Array]] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)


@dataclass
class Stage:
    products: list[Product] = field(default_factory=list)
    loops: list[Loop] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)

    def loop(self, features: int) -> Loop:
        for loop in self.loops:
            if loop.width == features:
                return loop
        self.loops.append(Loop(features))
        return self.loops[-1]

    def grid(self, outer: int, inner: int) -> Grid:
        for grid in self.grids:
            if (grid.outer, grid.inner) == (outer, inner):
                return grid
        self.grids.append(Grid(outer, inner))
        return self.grids[-1]


@dataclass(frozen=True)
class Value:
    """Where a node can be read: the sum of ``arrays`` from ``column`` on, from ``stage`` on."""

    arrays: tuple[Array, ...]
    column: int
    stage: int


@dataclass
class Program:
    """What one time step does; ``copies`` end it, of 0 where there is no source."""

    arrays: list[Array] = field(default_factory=list)
    stages: list[Stage] = field(default_factory=list)
    values: dict[Node, Value] = field(default_factory=dict)
    copies: list[tuple[Array | None, Array]] = field(default_factory=list)
    takes: dict[Node, tuple[Array, int]] = field(default_factory=dict)
    """Of each value that is features of another in some order, where that other begins."""
    memory: dict[Node, Array] = field(default_factory=dict)
    """Memory of two sizes, row by row."""
    parameters: dict[Node, Array] = field(default_factory=dict)
    """What is the same for all rows, computed before the loop; a ``vector`` or ``weight`` each."""
    temporaries: list[Array] = field(default_factory=list)
    """What a step writes and reads again, and nobody else."""
    extents: tuple[int, ...] = ()
    """The numbers that stand for sizes which may be others in each call."""

    @property
    def products(self) -> Iterator[Product]:
        """Those of all stages."""
        return (product for stage in self.stages for product in stage.products)

    def cost(self, sizes: Mapping[int, int]) -> int:
        """What a row costs, about: multiplications, and eight of them for each feature stored.

        Args:
            sizes: of memory, by the numbers that stand for them.
        """
        loops = (loop for stage in self.stages for loop in stage.loops)
        grids = (grid for stage in self.stages for grid in stage.grids)
        return (
            sum(p.weight.inner * p.weight.width for p in self.products)
            + 8 * sum(sizes.get(o.width, o.width) * (len(o.stores) + len(o.sums)) for o in loops)
            + sum(
                sizes.get(g.outer, g.outer) * sizes.get(g.inner, g.inner)
                * (len(g.over_inner) + len(g.over_outer) + 8 * len(g.stores))
                for g in grids
            )
        )  # fmt: skip

    def __str__(self) -> str:
        def size(features: int) -> str:
            return "as many" if is_extent(features) else str(features)

        lines = []
        for i, stage in enumerate(self.stages, 1):
            for p in stage.products:
                lines.append(
                    f"  stage {i}: {p.target.name} = {_place(p.source, p.column, p.weight.inner)}"
                    f" · {p.weight.name} ({p.weight.inner}×{p.weight.width})"
                )
            for loop in stage.loops:
                names = [
                    f"{_place(s.array, s.column, loop.width)}{' +' if s.accumulate else ''}"
                    for s in loop.stores
                ]
                names += [f"Σ {array.name}" for _, array in loop.sums]
                lines.append(f"  stage {i}: {size(loop.width)} features into {', '.join(names)}")
            for grid in stage.grids:
                names = [f"{store.array.name} +" for store in grid.stores]
                names += [f"Σ {array.name}" for _, array in (*grid.over_inner, *grid.over_outer)]
                lines.append(
                    f"  stage {i}: {size(grid.outer)} × {size(grid.inner)} features into "
                    f"{', '.join(names)}"
                )
        return "\n".join(lines)


def _place(array: Array, column: int, size: int) -> str:
    return array.name if size == array.width else f"{array.name}[{column}:{column + size}]"

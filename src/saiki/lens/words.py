"""What happened inside, in words."""

import math
from collections.abc import Sequence

from saiki.lens.views import LayerView, View
from saiki.numbers import number

EXPLODED = 1e3
"""A state beyond this, or a gradient this many times the first one, counts as exploded."""


def describe(history: Sequence[tuple[int, View]]) -> str:
    """One plain sentence for each layer on what happened inside it, with the numbers.

    Args:
        history: the iteration and what was seen there, in order.
    """
    layers = dict.fromkeys(name for _, view in history for name in view)
    sentences = []
    for layer in layers:
        frames = [(iteration, view[layer]) for iteration, view in history if layer in view]
        prefix = f"{layer}: " if len(layers) > 1 else ""
        sentences.append(prefix + _trouble(frames) + _flow(*frames[-1]))
    return "\n".join(sentences)


def _trouble(frames: Sequence[tuple[int, LayerView]]) -> str:
    """The first thing that went wrong, if any did."""
    state = next(iter(frames[0][1].gradient))
    largest_norms = (max(view.gradient[state]) for _, view in frames)
    first = next((norm for norm in largest_norms if 0 < norm < math.inf), math.inf)
    for iteration, view in frames:
        norms = view.gradient[state]
        if view.first_infinite is not None:
            name = view.first_infinite_state or state
            return f"{name} overflowed at iteration {iteration}, step {view.first_infinite}; "
        largest, name = max((_largest(view, name), name) for name in view.gradient)
        if largest > EXPLODED:
            return f"{name} exploded by iteration {iteration}: it reached {number(largest)}; "
        worst = max(norms, key=lambda n: math.inf if math.isnan(n) else n)
        if not worst <= EXPLODED * first or math.isinf(worst):
            step = norms.index(worst) + 1
            return (
                f"the gradient exploded at iteration {iteration}: "
                f"norm {number(worst)} at step {step}; "
            )
    alive = [i for i, (_, view) in enumerate(frames) if max(view.gradient[state]) > 0]
    dead = frames[alive[-1] + 1 if alive else 0 :]
    if dead:
        return f"the gradient died: it is 0 at every step from iteration {dead[0][0]} on; "
    return ""


def _largest(view: LayerView, state: str) -> float:
    """How far the values of a state go from 0."""
    return max(abs(view.values[state].minimum), abs(view.values[state].maximum))


def _flow(iteration: int, view: LayerView) -> str:
    """How the gradient changes on its way back through time, and how saturated the units are."""
    norms = next(iter(view.gradient.values()))
    start, end = (1, len(norms)) if view.reverse else (len(norms), 1)
    newest, oldest = norms[start - 1], norms[end - 1]
    if not (math.isfinite(newest) and math.isfinite(oldest)):
        change = "is not finite"
    elif newest == oldest == 0:
        change = "is 0"
    elif oldest == 0:
        change = "vanishes to exactly 0"
    elif newest > 1.5 * oldest:
        change = f"shrinks {number(newest / oldest)}×"
    elif oldest > 1.5 * newest:
        change = f"grows {number(oldest / newest)}×" if newest else "comes from earlier steps only"
    else:
        change = "keeps its size"
    sentence = f"at iteration {iteration} the gradient {change} from step {start} to step {end}"
    shares = {n: s.saturated for n, s in view.values.items() if s.saturated is not None}
    parts = ", ".join(f"{share:.0%} of {name}" for name, share in shares.items())
    return f"{sentence}; saturated are {parts}" if parts else sentence

"""What a person sees of a run that has ended: its figures, what comes next, its folder."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saiki.experiment import Experiment, Figures


def tell_result(
    figures: "Figures", folder: Path, say: Callable[[str], None], used: "Experiment | None" = None
) -> None:
    """Say the figures, aligned, and last the folder.

    Args:
        used: the experiment, if the commands that use its model are named too.
    """
    if figures:
        say(in_words(figures))
    if used is not None:
        from saiki.capabilities import ExportsVectors

        run = shlex.quote(str(folder))
        say("\nnext:")
        say(f"  saiki predict {run} {shlex.quote(used.data.input_example())}")
        say(f"  saiki compare {run} ANOTHER-RUN")
        file = "--vectors {}.txt" if isinstance(used, ExportsVectors) else "--onnx {}.onnx"
        say(f"  saiki export {run} {file.format(used.name)}")
    say(str(folder))


def in_words(figures: "Figures") -> str:
    """Figures below each other."""
    width = max(map(len, figures), default=0)
    lines = (
        f"{name:<{width}}  {'–' if value is None else f'{value:.6g}'}"
        for name, value in figures.items()
    )
    return "\n".join(lines)

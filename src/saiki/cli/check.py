"""``saiki check``: proofs of built-in cells, of yours, and of the models of experiments."""

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saiki.cli.common import Parser, count
from saiki.errors import InputError, SaikiError, near
from saiki.terminal import say

if TYPE_CHECKING:
    from saiki.cell import Cell
    from saiki.proof import Report


def main(words: list[str]) -> int:
    parser = Parser(
        "check",
        "Prove gradients right against finite differences, padding and reversal, in float64.",
        "examples:\n"
        "  saiki check lstm                     the built-in cell in every variant\n"
        "  saiki check my_cell.py:MyCell        a cell of yours\n"
        "  saiki check my_cell.py:MyCell --passes    what the compiler does to it, too\n"
        "  saiki check adder --preset report    an experiment's model and its loss",
    )
    parser.add_argument("target", metavar="TARGET", help="rnn, lstm, gru, FILE.py:Cell or NAME")
    parser.add_argument("--preset", help="settings of the experiment")
    parser.add_argument("--input-size", type=count, help="of a cell (3)")
    parser.add_argument("--hidden-size", type=count, help="of a cell (5)")
    parser.add_argument(
        "--passes", action="store_true", help="show what each pass of the compiler does to a cell"
    )
    options = parser.parse_args(words)
    from saiki.experiments import HOMES, outlines

    target, sizes = options.target, (options.input_size, options.hidden_size)
    if options.preset and target not in HOMES:
        parser.error("--preset goes with the name of an experiment")
    if any(sizes) and target in HOMES:
        parser.error("--input-size and --hidden-size go with a cell")
    if options.passes and target in HOMES:
        parser.error("--passes goes with a cell")
    if target in HOMES:
        outlines.exercise(target).preset(options.preset)
    elif ".py" in target:
        _path(target)
    elif target not in (cells := outlines.names().cells):
        known = (*cells, *HOMES)
        raise InputError(
            f"there is nothing called {target!r} to check; there are {', '.join(known)}, and "
            f"FILE.py:Cell for a cell of yours{near(target, known)}"
        )
    passed = True
    for report in reports(target, options.preset, sizes[0] or 3, sizes[1] or 5, options.passes):
        say(report)
        passed &= report.passed
    return 0 if passed else 1


def reports(
    target: str, preset: str | None, input_size: int, hidden_size: int, passes: bool = False
) -> "Iterator[Report]":
    """The proofs of a built-in family, of the cells of a file, or of an experiment's model.

    Args:
        passes: whether to say first what the passes of the compiler do to each cell.
    """
    import torch

    from saiki import proof
    from saiki.bench.harness import beside_eager
    from saiki.cells import VARIANTS
    from saiki.experiments import load
    from saiki.layers.recurrent import Recurrent

    if target in VARIANTS:
        for name, variant in VARIANTS[target].items():
            instance = variant(input_size, hidden_size)
            if passes:
                _say_passes(name, instance)
            yield replace(proof.check(instance), title=name)
    elif ".py" in target:
        for cell in cells_in(target):
            try:
                instance = cell(input_size, hidden_size)
                if passes:
                    _say_passes(cell.__name__, instance)
                report = proof.check(instance)
                notes = (beside_eager(instance),) if report.passed else ()
            except SaikiError:
                raise
            except Exception as error:  # whatever a user's own code may raise
                raise InputError(
                    f"{cell.__name__} does not run: {_error_and_line(error)}"
                ) from error
            yield replace(report, notes=(*report.notes, *notes))
    else:
        experiment = load(target).from_dict(load(target).preset(preset))
        if experiment.updates_itself:
            raise InputError(f"{target} learns by a rule of its own: there is no gradient to prove")
        torch.manual_seed(experiment.seed)
        model = experiment.model()
        for layer in model.modules():
            if isinstance(layer, Recurrent):
                yield proof.check(layer)
        batch = doubled(next(experiment.data.batches(experiment.seed)))
        yield proof.check_loss(model, lambda twin: experiment.measure(twin, batch)["loss"])


def doubled(batch: Any) -> Any:
    """A batch with its floating-point tensors in float64."""
    import torch

    from saiki.torch_internals import tree_map

    def double(part: Any) -> Any:
        is_real = isinstance(part, torch.Tensor) and part.is_floating_point()
        return part.double() if is_real else part

    return tree_map(double, batch)


def _say_passes(name: str, cell: "Cell") -> None:
    from saiki.layers.recurrent import Recurrent

    say(f"{name}, pass by pass")
    say(Recurrent(cell).explain(passes=True))


def cells_in(target: str) -> "list[type[Cell]]":
    """The cell ``FILE.py:Cell``, or every cell that ``FILE.py`` defines.

    Raises:
        InputError: there is no such file or cell, or the file does not run.
    """
    path, name = _path(target)
    from saiki.cell import Cell

    file = str(path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where dataclasses and pickles look for it
    sys.path.insert(0, str(path.parent.resolve()))  # the file may import its neighbours
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is left beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's own code may raise
        raise InputError(f"{file} does not run: {_error_and_line(error)}") from error
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(str(path.parent.resolve()))
    cells = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Cell) and value.__module__ == path.stem
    }
    if not cells:
        raise InputError(f"{file} defines no subclass of saiki.Cell")
    if name and name not in cells:
        raise InputError(f"{file} defines no cell {name!r}; it defines {', '.join(cells)}")
    return [cells[name]] if name else list(cells.values())


def _path(target: str) -> tuple[Path, str]:
    """The file of ``FILE.py:Cell``, and the name of the cell."""
    file, _, name = target.partition(":")
    if not Path(file).is_file():
        raise InputError(f"there is no file {file}")
    return Path(file), name


def _error_and_line(error: Exception) -> str:
    """An error of a user's own code: what it says and at which line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "site-packages" not in f.filename and "/saiki/" not in f.filename]
    line = error.lineno if isinstance(error, SyntaxError) else (own or frames)[-1].lineno
    lines = str(error).strip().splitlines()
    return f"{lines[0] if lines else type(error).__name__} (line {line})"

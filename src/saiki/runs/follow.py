"""What the model of a run says after each row that arrives."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from saiki.capabilities import Follows
from saiki.errors import InputError
from saiki.knobs import Value
from saiki.prediction import Prediction
from saiki.runs.reopen import AS_TRAINED, in_use

LONGEST_LINE = 2**20


def follow(
    run: Path, rows: BinaryIO, before: Sequence[str] = (), knobs: Mapping[str, Value] = AS_TRAINED
) -> Iterator[Prediction | InputError]:
    """What the model of a run makes of each row as it arrives, or why it makes nothing of it.

    Args:
        run: its folder.
        rows: where they arrive, such as a pipe, a socket or ``sys.stdin.buffer``.
        before: the path of a table with the rows before them, if there is one.
        knobs: of :attr:`Experiment.predict_knobs`, where they are to differ from the run's.

    Raises:
        InputError: there is no such run or knob; its exercise does not do that; or, when it comes
            to that, the table cannot be read, or no row ever will.
    """
    experiment, model = in_use(run, knobs)
    return Follows.of(experiment).follow(model, before, arriving(rows))


def arriving(file: BinaryIO) -> Iterator[list[bytes]]:
    """The lines of a file as they come, without their ends, those together that are there together.

    Raises:
        InputError: one of them does not end.
    """
    rest = b""
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    while chunk := read(LONGEST_LINE):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise InputError(f"standard input has a line of more than {LONGEST_LINE:,} bytes")
        if lines:
            yield lines
    if rest:
        yield [rest]

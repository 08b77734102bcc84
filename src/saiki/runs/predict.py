"""What a trained model is given by its user: words of the command line, files, the microphone."""

import itertools
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from saiki.data.text.plain_text import decoded_lines, lines
from saiki.errors import InputError
from saiki.experiment import Experiment

MICROPHONE_RATE = 16_000
"""Samples a second that are recorded; a model takes any rate."""


@contextmanager
def inputs(
    experiment: Experiment, given: Sequence[str], seconds: float | None
) -> Iterator[Iterator[str]]:
    """What a user wants predictions of: first so many ``seconds`` of the microphone, if any.

    ``-`` stands for the lines of standard input, and, of an experiment that reads line by line, the
    path of a file for its lines.

    Raises:
        InputError: there is nothing to listen to, or standard input is closed; or, when it comes to
            that, a file or the standard input is not UTF-8.
    """
    if "-" in given and sys.stdin is None:
        raise InputError("standard input is closed, so - has no lines to read")
    if seconds is None:
        yield _expanded(experiment, given)
        return
    if not experiment.takes_sound:
        raise InputError(f"{experiment.name} does not take sound, so there is nothing to listen to")
    from saiki.data.sound import files

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "microphone.wav")
        files.save(path, files.record(seconds, MICROPHONE_RATE), MICROPHONE_RATE)
        yield itertools.chain([str(path)], _expanded(experiment, given))


def _expanded(experiment: Experiment, given: Iterable[str]) -> Iterator[str]:
    for word in given:
        if word == "-":
            for line in decoded_lines(sys.stdin.buffer, "standard input"):
                yield line.removeprefix("\ufeff")  # of a file that was piped
        elif experiment.by_line and _is_file(word):
            yield from lines(Path(word))
        elif experiment.by_line and re.fullmatch(r"\S+\.(txt|tsv|csv)", word):
            raise InputError(f"there is no file {word}")
        else:
            yield word


def _is_file(word: str) -> bool:
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # nothing that a file can be called
        return False


def answers(
    experiment: Experiment, model: nn.Module, given: Iterable[str], typed: bool
) -> Iterator[dict[str, Any] | InputError]:
    """What the model makes of each input, or why there is no answer; as many at once as the
    experiment can use, or one by one where a person is typing them."""
    given = iter(given)
    count = 1 if typed else experiment.predict_batch
    while part := list(itertools.islice(given, count)):
        yield from experiment.predict_all(model, part)

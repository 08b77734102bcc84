"""What a trained model is given by its user: words of the command line, files, the microphone."""

import csv
import io
import itertools
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from torch import Tensor, nn

from saiki.data.images.files import write_image
from saiki.data.images.folder import images_in
from saiki.data.sound.files import Sound, save
from saiki.data.sound.layouts import sounds_in
from saiki.data.text.dialogues import read_dialogues
from saiki.data.text.plain_text import decoded_lines, lines
from saiki.errors import InputError
from saiki.experiment import Experiment
from saiki.files import write_bytes

MICROPHONE_RATE = 16_000
"""Samples a second that are recorded; a model takes any rate."""
LONGEST_LINE = 2**20


FOLDERS: dict[str, Callable[[Path], list[Path]]] = {"sound": sounds_in, "image": images_in}
"""What a folder stands for."""
NAMED = re.compile(
    r"\S+\.(txt|tsv|csv|md|json|jsonl|pdf|docx|zip|gz|xz|bz2|wav|mp3|flac|ogg)|(~|\.{0,2})/\S+|\S+/"
    r"|[A-Za-z]:\\\S+"
)
"""Words that nobody means as a text: the names of files, and paths from a root or to a folder."""


DELIMITERS = {".csv": ",", ".tsv": "\t"}
"""Of a table by the ending of its name."""


def check_outputs(outputs: Iterable[Path | None], given: Sequence[str]) -> None:
    """Whether nothing that is read would be written over.

    Raises:
        InputError: one of the outputs is a file among what is given.
    """
    read = [Path(word) for word in given if _exists(word)]
    for path in outputs:
        if path is not None and path.is_file() and any(map(path.samefile, read)):
            raise InputError(f"{path} is what is read; have the answer written to another file")


@contextmanager
def inputs(
    experiment: Experiment, given: Sequence[str], seconds: float | None
) -> Iterator[Iterator[str]]:
    """What a user wants predictions of: first so many ``seconds`` of the microphone, if any.

    ``-`` stands for the lines of standard input. Of an experiment that reads line by line, the path
    of a file stands for its lines, and that of a folder for those of all text files in it; of one
    that takes dialogues, they stand for those in them; of one that takes sounds or images, a folder
    stands for all of them in it.

    Raises:
        InputError: there is nothing to listen to, or standard input is closed; a word looks like a
            path and is none; a folder holds no such files; or, when it comes to that, a file or the
            standard input is not UTF-8.
    """
    if "-" in given and sys.stdin is None:
        raise InputError("standard input is closed, so - has no lines to read")
    if experiment.takes in ("line", "dialogue"):
        for word in given:
            _refuse_missing(word)
    if seconds is None:
        yield _expanded(experiment, given)
        return
    if experiment.takes != "sound":
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
        elif experiment.takes == "line" and _exists(word):
            yield from lines(Path(word))
        elif experiment.takes == "dialogue" and _exists(word):
            yield from map("\n".join, read_dialogues(Path(word)))
        elif experiment.takes in FOLDERS and _exists(word) and Path(word).is_dir():
            yield from map(str, FOLDERS[experiment.takes](Path(word)))
        else:
            yield word


def _exists(word: str) -> bool:
    try:
        return bool(word) and Path(word).exists()
    except (OSError, ValueError):  # nothing that a file can be called
        return False


def _refuse_missing(word: str) -> None:
    """A word that looks like a path, or begins with a folder that is there, is no text."""
    folder = word.rpartition("/")[0]
    if not _exists(word) and (NAMED.fullmatch(word) or _exists(folder)):
        raise InputError(
            f"there is no file {word}; if it is meant as a text, give it as a line of standard "
            "input: -"
        )


def answers(
    experiment: Experiment, model: nn.Module, given: Iterable[str], typed: bool, folder: Path
) -> Iterator[dict[str, Any] | InputError]:
    """What the model makes of each input, or why there is no answer; as many at once as the
    experiment can use, or one by one where a person is typing them.

    Args:
        folder: for answers that are images or sounds, each called as its input; no file there is
            replaced.

    Raises:
        SaikiError: such a file cannot be written.
    """
    given = iter(given)
    count = 1 if typed else experiment.predict_batch
    while part := list(itertools.islice(given, count)):
        for answer in experiment.predict_all(model, part):
            if not isinstance(answer, InputError) and (path := _written(answer, folder)):
                answer["output"] = str(path)
                answer["text"] += f"; {path}"
            yield answer


def _written(answer: Mapping[str, Any], folder: Path) -> Path | None:
    """The new file of an answer that is an image or a sound; None for others."""
    output = answer.get("output")
    if isinstance(output, Tensor):
        return write_image(_free(folder, Path(answer["input"]).stem, ".png"), output)
    if isinstance(output, Sound):
        path = _free(folder, Path(answer["input"]).stem, ".wav")
        return save(path, output.wave, output.rate)
    return None


def arriving(file: BinaryIO) -> Iterator[list[bytes]]:
    """The lines of a file as they come, without their ends, those together that are there together.

    Raises:
        InputError: one of them does not end.
    """
    begun = b""
    read: Callable[[int], bytes] = getattr(file, "read1", file.read)
    while chunk := read(LONGEST_LINE):
        *whole, begun = (begun + chunk).split(b"\n")
        if len(begun) > LONGEST_LINE:
            raise InputError(f"standard input has a line of more than {LONGEST_LINE:,} bytes")
        if whole:
            yield whole
    if begun:
        yield [begun]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The rows of forecasts as a table, CSV or with tabs where the name ends in .tsv: for each time
    the point forecast, and the ends of each interval.

    Raises:
        InputError: the name ends in anything else.
        SaikiError: it cannot be written.
    """
    if path.suffix not in DELIMITERS:
        raise InputError(f"a table of forecasts is written as .csv or .tsv, got {path}")
    levels = [*rows[0]["quantiles"]] if rows else []
    names = [*map(_bound, map(float, levels))]
    table = io.StringIO(newline="")
    writer = csv.writer(table, delimiter=DELIMITERS[path.suffix])
    writer.writerow(["time", "series", "target", "forecast", *names])
    for row in rows:
        numbers = [row["mean"], *(row["quantiles"][level] for level in levels)]
        named = [row[name] for name in ("time", "series", "target")]
        writer.writerow([*named, *(f"{number:.9g}" for number in numbers)])
    return write_bytes(path, table.getvalue().encode())


def _bound(level: float) -> str:
    """What the quantile of a level is called: low_80 and high_80 are the ends of an interval.

    >>> _bound(0.1), _bound(0.5), _bound(0.975)
    ('low_80', 'median', 'high_95')
    """
    if level == 0.5:
        return "median"
    return f"{'low' if level < 0.5 else 'high'}_{100 * abs(1 - 2 * level):g}"


def _free(folder: Path, name: str, ending: str) -> Path:
    """The path of a file of this name, or of one with a number, where there is one already."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(path for each in names if not (path := folder / f"{each}{ending}").exists())

"""What a trained model is given by its user: a text, the path of a sound, the lines of a file."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from saiki.errors import InputError

Reader = Callable[[Path], Iterable[object]]
"""From a path to the inputs that it stands for, texts or paths."""
NAME_OF_A_FILE = re.compile(
    r"\S+\.(txt|tsv|csv|md|json|jsonl|pdf|docx|zip|gz|xz|bz2|wav|mp3|flac|ogg)|(~|\.{0,2})/\S+|\S+/"
    r"|[A-Za-z]:\\\S+"
)
"""Words that nobody means as a text: the names of files, and paths from a root or to a folder."""


@dataclass(frozen=True)
class InputKind:
    """A kind of input, and what the words of a command line stand for where it is expected.

    Args:
        name: of one input.
        in_file: the inputs in a file; without it, the path of a file is an input itself.
        in_folder: the inputs in a folder and below it; without it, its path is an input itself.
        record: writes what is recorded for so many seconds into a file, whose path is then an
            input; None where there is nothing to record.

    >>> digits = InputKind("digit", in_file=lambda path: path.read_text().split())
    >>> list(digits.expand("7"))
    ['7']
    >>> digits.check("numbers.txt")
    Traceback (most recent call last):
    saiki.errors.InputError: there is no file numbers.txt; if it is meant as a text, ...
    """

    name: str
    in_file: Reader | None = None
    in_folder: Reader | None = None
    record: Callable[[float, Path], object] | None = None

    def check(self, word: str) -> None:
        """Where a file stands for what is in it, a word that looks like a path, or begins with a
        folder that is there, is no text.

        Raises:
            InputError: it is such a word, and no file.
        """
        if self.in_file is None or exists(word):
            return
        if NAME_OF_A_FILE.fullmatch(word) or exists(word.rpartition("/")[0]):
            raise InputError(
                f"there is no file {word}; if it is meant as a text, give it as a line of standard "
                "input: -"
            )

    def expand(self, word: str) -> Iterator[str]:
        """The inputs that a word stands for.

        Raises:
            InputError: it is the path of a file or folder that cannot be read.
        """
        path = Path(word)
        read = self.in_folder if exists(word) and path.is_dir() else self.in_file
        if read is None or not exists(word):
            yield word
        else:
            yield from map(str, read(path))


TEXT = InputKind("text")


def exists(word: str) -> bool:
    """Whether a word is the path of something that is there."""
    try:
        return bool(word) and Path(word).exists()
    except (OSError, ValueError):  # nothing that a file can be called
        return False

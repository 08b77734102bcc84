"""What was done to which image of an augmented data set, as a table beside them."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from saiki.data.images.changes import Changes
from saiki.errors import InputError
from saiki.files import write_text
from saiki.inputs import read_text

NAME = "augmented.csv"
_FIXED = ("file", "source", "sha256", "copy")


@dataclass(frozen=True)
class Made:
    """One image of an augmented data set.

    Args:
        file: its name below the folder.
        source: the file it was made of, below the folder it comes from.
        sha256: of the bytes of the source.
        copy: which copy it is, from 1 on; 0 is the source itself.
        changes: what was done to it.
    """

    file: str
    source: str
    sha256: str
    copy: int
    changes: Changes


def write(folder: Path, rows: Sequence[Made]) -> Path:
    """Write the table into a folder, whole or not at all: a row for each image, a column for each
    thing that may be done, empty where it was not."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow((*_FIXED, *(each.name for each in fields(Changes))))
    for row in rows:
        cells = row.changes.row().values()
        writer.writerow((row.file, row.source, row.sha256, row.copy, *cells))
    return write_text(folder / NAME, buffer.getvalue())


def read(folder: Path) -> dict[str, Made]:
    """The images of the table in a folder by their files, without what was done to them; none
    where there is no table.

    Raises:
        InputError: it is no such table.
    """
    path = folder / NAME
    if not path.exists():
        return {}
    try:
        lines = csv.DictReader(io.StringIO(read_text(path)))
        is_table = {*_FIXED} <= {*(lines.fieldnames or ())}
        found = [
            Made(line["file"], line["source"], line["sha256"], int(line["copy"]), Changes())
            for line in (lines if is_table else [{}])
        ]
    except InputError:
        raise
    except (csv.Error, KeyError, ValueError, TypeError):
        raise InputError(
            f"{path} is not a table as saiki data augment writes it; it needs the columns "
            f"{', '.join(_FIXED)}"
        ) from None
    return {each.file: each for each in found}

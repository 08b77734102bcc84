"""Which column of a table is which: by its header, by its number, or by what it is known as."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from saiki.errors import InputError, near, shown


@dataclass(frozen=True)
class Columns:
    """Columns by their headers.

    Args:
        path: of the table.
        headers: the lines of the header, none or each as wide as the table.
        width: how many columns there are.
        sample: some of the rows below the header.
    """

    path: Path
    headers: tuple[tuple[str, ...], ...]
    width: int
    sample: tuple[tuple[str, ...], ...]

    def find(self, name: str) -> int | None:
        """The column that is called so in one line of the header, or in all together with blanks
        between them; else the one of this number, from 1 on; else None."""
        wanted = name.strip()
        for tidy in (str, folded):
            for lines in (self.headers, (self._joined(),)):
                matches = {
                    i for line in lines for i, cell in enumerate(line) if tidy(cell) == tidy(wanted)
                }
                if len(matches) == 1:
                    return matches.pop()
                if matches and lines is not self.headers:
                    raise InputError(
                        f"{self.path} has {len(matches)} columns called {shown(name)}; name one by "
                        f"its number, from 1 to {self.width}: here "
                        f"{' or '.join(str(i + 1) for i in sorted(matches))}"
                    )
        if wanted.isdecimal() and len(wanted) < 9 and 1 <= int(wanted) <= self.width:
            return int(wanted) - 1
        return None

    def of(self, name: str) -> int:
        """See :meth:`find`."""
        column = self.find(name)
        if column is not None:
            return column
        if not self.headers:
            raise InputError(
                f"{self.path} has no column {shown(name)}: it has no header, and columns are named "
                f"by their numbers, from 1 to {self.width}"
            )
        names = [cell for line in self.headers for cell in line if cell]
        examples = ", ".join(shown(self.name(i), 40) for i in range(min(self.width, 6)))
        more = " …" if self.width > 6 else ""
        raise InputError(
            f"{self.path} has no column {shown(name)}; it has {examples}{more}{near(name, names)}"
        )

    def name(self, column: int, known: Sequence[str] = ()) -> str:
        """What it is called, by one of the names that are known if it has it; without a header, its
        number."""
        for line in self.headers:
            if folded(line[column]) in known:
                return line[column]
        return (self._joined()[column] if self.headers else "") or str(column + 1)

    def cells(self, column: int) -> list[str]:
        """What stands in a column of the sample, without empty cells."""
        return [row[column] for row in self.sample if row[column]]

    def called(self, names: Sequence[str]) -> list[int]:
        """The columns that have one of these names, whatever their case."""
        return [
            i
            for i in range(self.width)
            if any(folded(line[i]) in names for line in (*self.headers, self._joined()))
        ]

    def tell_apart(self, time: int, used: Sequence[int]) -> int | None:
        """The column that tells rows of the same time apart, if one does in the sample: one of
        values that occur again and again."""
        for column in (i for i in range(self.width) if i not in used):
            values = {row[column] for row in self.sample}
            pairs = {(row[time], row[column]) for row in self.sample}
            if len(values) <= len(self.sample) // 2 and len(pairs) == len(self.sample):
                return column
        return None

    def _joined(self) -> tuple[str, ...]:
        if not self.headers:
            return ("",) * self.width
        columns = zip(*self.headers, strict=True)
        return tuple(" ".join(dict.fromkeys(cell for cell in cells if cell)) for cells in columns)


def known_columns(header: Sequence[str], names: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The places of the columns of which a header has one of the names, the first that it has."""
    cells = [folded(cell) for cell in header]
    return {
        role: cells.index(called)
        for role, known in names.items()
        if (called := next((name for name in known if name in cells), None)) is not None
    }


def folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()

"""Archives unpacked with suspicion: nothing is written outside the folder they are given."""

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from saiki.errors import SaikiError
from saiki.inputs import limit, open_bytes, open_file, open_zip, too_much


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the regular files of a ``.tar.gz`` or ``.zip`` into ``folder``, which is made.

    One folder at the top that everything is in is left out.

    Raises:
        SaikiError: the archive is damaged, a member would be written outside ``folder``, or it
            unpacks to too much, see :mod:`saiki.inputs`.
    """
    try:
        # names first: nothing is written from an archive with any bad one
        names = [name for name, _ in _members(archive)]
        for name in names:
            _check_member(name)
        tops = {PurePosixPath(name).parts[0] for name in names}
        strip = len(tops) == 1 and all(len(PurePosixPath(name).parts) > 1 for name in names)
        folder.mkdir()
        for name, content in _members(archive):
            path = folder.joinpath(*PurePosixPath(name).parts[strip:])
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as target:
                shutil.copyfileobj(content, target)
    except (tarfile.TarError, ValueError, FileExistsError, NotADirectoryError) as error:
        raise SaikiError(f"its archive is damaged: {error}") from None


def _check_member(name: str) -> None:
    parts = PurePosixPath(name).parts
    if not name:
        raise SaikiError("its archive is damaged: it holds a file without a name")
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
        raise SaikiError(f"its archive holds {name!r}, which would be written elsewhere")


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """The regular files of the archive, one after the other: names, and each to be read; links are
    left out."""
    with open_file(archive) as plain:
        is_zip = zipfile.is_zipfile(plain)
    if is_zip:
        with open_zip(archive) as zipped:
            for member in zipped.infolist():
                if not member.filename.endswith("/"):  # which may have no name at all
                    with zipped.open(member) as content:
                        yield member.filename, content
        return
    most = limit("files")
    with open_bytes(archive) as file, tarfile.open(fileobj=file, mode="r|") as tarred:
        for number, info in enumerate(tarred):
            if number == most:
                raise too_much(archive, "files", f"holds more than {most:,} files")
            if info.isfile():
                extracted = tarred.extractfile(info)
                assert extracted is not None  # as it is for every regular file
                yield info.name, extracted

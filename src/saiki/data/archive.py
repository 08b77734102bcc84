"""Archives unpacked with suspicion: nothing is written outside the folder they are given."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from saiki.errors import SaikiError


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the regular files of a ``.tar.gz`` or ``.zip`` into ``folder``, which is made.

    One folder at the top that everything is in is left out.

    Raises:
        SaikiError: the archive is damaged, or a member would be written outside ``folder``.
    """
    try:
        with _opened(archive) as members:
            # names first: nothing is written from an archive with any bad one
            names = [name for name, _ in members]
            for name in names:
                _check_member(name)
            tops = {PurePosixPath(name).parts[0] for name in names}
            strip = len(tops) == 1 and all(len(PurePosixPath(name).parts) > 1 for name in names)
            folder.mkdir()
            for name, content in members:
                path = folder.joinpath(*PurePosixPath(name).parts[strip:])
                path.parent.mkdir(parents=True, exist_ok=True)
                with content() as source, path.open("xb") as target:
                    shutil.copyfileobj(source, target)
    except (
        tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError,
        FileExistsError, NotADirectoryError,
    ) as error:  # fmt: skip
        raise SaikiError(f"its archive is damaged: {error}") from None


def _check_member(name: str) -> None:
    parts = PurePosixPath(name).parts
    if not name:
        raise SaikiError("its archive is damaged: it holds a file without a name")
    if not parts or name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
        raise SaikiError(f"its archive holds {name!r}, which would be written elsewhere")


@contextmanager
def _opened(archive: Path) -> Iterator[list[tuple[str, Callable[[], IO[bytes]]]]]:
    """The regular files of the archive: names, and what opens each; links are left out."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield [
                (info.filename, partial(zipped.open, info))
                for info in zipped.infolist()
                if not info.filename.endswith("/")  # which may have no name at all
            ]
    else:
        with tarfile.open(archive) as tarred:
            yield [(info.name, partial(_extract, tarred, info)) for info in tarred if info.isfile()]


def _extract(tarred: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = tarred.extractfile(info)
    assert content is not None  # as it is for every regular file
    return content

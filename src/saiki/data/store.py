"""Named datasets: where each comes from, under which terms, and where it is on this machine.

A dataset is a folder, or one file that holds all of it. It is the one that was given, else the one
of that name in ``$SAIKI_DATA``, else the folder in the user's cache, into which it is downloaded at
first use.
"""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from saiki.data.archive import unpack
from saiki.data.datasets import DATASETS, PublishedDataset
from saiki.errors import InputError, SaikiError, near
from saiki.inputs import sha256_of
from saiki.terminal import complain


def published(name: str) -> PublishedDataset:
    """What is known of the dataset of that name."""
    try:
        return DATASETS[name]
    except KeyError:
        raise InputError(
            f"there is no dataset {name!r}; the datasets are {', '.join(DATASETS)}"
            f"{near(name, DATASETS)}"
        ) from None


def where(name: str) -> Path | None:
    """The folder or file of the dataset if it is on this machine; nothing is downloaded.

    Raises:
        InputError: there is no such dataset, or ``$SAIKI_DATA/NAME`` is something else.
    """
    wanted = published(name)
    if supplied := os.environ.get("SAIKI_DATA"):
        folder = Path(supplied) / name
        if folder.exists():
            if lacks := wanted.lacks(folder):
                raise InputError(f"{folder} is not the dataset {name}: it holds no {lacks}")
            return folder
        for file in wanted.alone:
            if (Path(supplied) / file).is_file():
                return Path(supplied) / file
    installed = Path(wanted.installed)
    if wanted.installed and not wanted.lacks(installed):
        return installed
    folder = _cache() / name
    return folder if folder.is_dir() else None


def locate(name: str, own: Path | None = None, trust: bool = False) -> Path:
    """The folder or file of the dataset; it is downloaded if it is not on this machine.

    Args:
        own: a folder or file of the user's own, which is returned instead if it exists.
        trust: take what is downloaded although its checksum is another than the one known, or
            none is.

    Raises:
        InputError: there is no such dataset or no ``own``, or the dataset is not here and cannot
            be downloaded; the error says how to supply it.
    """
    wanted = published(name)
    if own is not None:
        if not own.exists():
            raise InputError(f"{own} does not exist")
        return own
    return where(name) or _download(wanted, _cache() / name, trust)


def listing() -> str:
    """All datasets in two lines each: what it is, and its licence and where it is."""
    lines, width = [], max(map(len, DATASETS))
    for each in DATASETS.values():
        lines.append(f"{each.name:{width}} {each.summary}")
        lines.append(f"{'':{width}} {each.licence}; {_whereabouts(each)}")
    return "\n".join(lines)


def describe(name: str) -> str:
    """One dataset in full, a line for each fact."""
    each = published(name)
    facts = {
        "name": each.name,
        "summary": each.summary,
        "licence": each.licence,
        "citation": each.citation,
        "address": " and ".join(each.downloads),
        "sha256": " and ".join(sha256 or "not known" for sha256 in each.downloads.values()),
        "folder": _whereabouts(each),
    }
    return "\n".join(f"{fact:9} {text}" for fact, text in facts.items())


def _whereabouts(wanted: PublishedDataset) -> str:
    try:
        return str(where(wanted.name) or "not here")
    except InputError as error:
        return str(error)


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("saiki"))


def _download(wanted: PublishedDataset, folder: Path, trust: bool) -> Path:
    """Fetch and unpack beside ``folder``, then rename: it is there whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=f".{wanted.name}-", ignore_cleanup_errors=True
        ) as temporary:
            made = Path(temporary, "made")
            place = made if wanted.files else made.parent
            for address, sha256 in wanted.downloads.items():
                file = _fetch(wanted.name, address, sha256, trust, place)
            if not wanted.files:
                unpack(file, made)
                made /= wanted.inside
            if lacks := wanted.lacks(made):
                raise SaikiError(f"its archive holds no {lacks}")
            try:
                made.rename(folder)
            except OSError:
                if not folder.is_dir():  # otherwise another process was faster
                    raise
    except (SaikiError, OSError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(
            f"the dataset {wanted.name} is not here and cannot be downloaded ({reason}); get "
            f"{' and '.join(wanted.downloads)} on another machine, "
            f"{'put' if wanted.files else 'unpack'} "
            f"{'them into one folder' if len(wanted.downloads) > 1 else 'it'}"
            f"{' into a folder' if len(wanted.files) == 1 else ''}, and name its folder "
            f"{wanted.inside and wanted.inside + ' '}with --data PATH "
            f"or keep it as {wanted.name} in a folder that SAIKI_DATA names"
        ) from None
    return folder


def _fetch(name: str, address: str, sha256: str | None, trust: bool, folder: Path) -> Path:
    """Download what is at the address into ``folder``, and check it."""
    import pooch
    from requests import RequestException

    trusting = f"saiki data get {name} --trust-download takes what is there"
    if sha256 is None and not trust:
        raise SaikiError(f"nobody has published the checksum of {address}; {trusting}")
    terminal = sys.stderr.isatty()
    if terminal:
        complain(f"downloading {name} from {address}")
    try:
        with _level(pooch.get_logger(), "WARNING"):
            file = pooch.retrieve(
                address,
                known_hash=None,
                fname=PurePosixPath(address).name,
                path=folder,
                progressbar=terminal,
            )
    except RequestException as error:
        raise SaikiError(_network_reason(error)) from None
    actual = sha256_of(Path(file))
    if actual != sha256:
        if not trust:
            raise SaikiError(
                f"the checksum of {address} is not the one that was published; {trusting}"
            )
        known = f"not {sha256}" if sha256 else "which nobody has published"
        complain(f"{address} is trusted: its SHA-256 is {actual}, {known}")
    return Path(file)


def _network_reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answers {response.status_code} {response.reason}"
    broken = "ChunkedEncoding" in type(error).__name__
    return "the download broke off" if broken else "the server cannot be reached"


@contextmanager
def _level(logger: logging.Logger, level: str) -> Iterator[None]:
    before = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)

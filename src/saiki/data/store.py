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
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from saiki.data.archive import unpack
from saiki.errors import InputError, SaikiError, near


@dataclass(frozen=True)
class Dataset:
    """A dataset that is published at one address: as one archive (``.tar.gz`` or ``.zip``), or, in
    a folder there, as ``files``."""

    name: str
    summary: str
    address: str
    sha256: str | None
    """Of the archive; None where nobody has published it, and then the archive is not checked."""
    licence: str
    citation: str
    holds: tuple[str, ...] = ()
    """Patterns of files; a folder in which one of them finds any is this dataset."""
    inside: str = ""
    """The folder of the archive that is the dataset, if that is not the whole."""
    alone: tuple[str, ...] = ()
    """Names of files each of which is the dataset, where there is no folder of it."""
    also: tuple[str, ...] = ()
    """Addresses of further archives that belong to it, of which no checksum is known. Each is
    unpacked into a folder in it that has the archive's name."""
    files: tuple[tuple[str, str], ...] = ()
    """Of a dataset that is no archive, all its files and the SHA-256 of each."""
    installed: str = ""
    """The folder where a package of a system's own has it."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Of all that is downloaded."""
        if self.files:
            return tuple(self.address + name for name, _ in self.files)
        return (self.address, *self.also)

    def lacks(self, folder: Path) -> str:
        """What a folder lacks to be this dataset; nothing if it is."""
        if self.files:
            return " and no ".join(n for n, _ in self.files if not (folder / n).is_file())
        found = any(any(folder.glob(pattern)) for pattern in self.holds)
        return "" if found else " and no ".join(self.holds)


DATASETS = {
    each.name: each
    for each in (
        Dataset(
            name="fsdd",
            summary="Free Spoken Digit Dataset 1.0.9: 2,500 recordings of English digits by five "
            "speakers, 8 kHz",
            address="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/v1.0.9.tar.gz",
            # as listed by TensorFlow Datasets for its spoken_digit
            sha256="8bc44cde129d505cbbb6b365c09f80c663f2aa77578afc634e6141a2f87100c0",
            licence="CC BY-SA 4.0",
            citation="Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite: "
            "Free Spoken Digit Dataset, 2018, doi:10.5281/zenodo.1342401",
            holds=("recordings/*.wav", "*.wav"),
        ),
        Dataset(
            name="small_parallel_enja",
            summary="50,000 English and Japanese sentences from the Tanaka corpus, tokenised",
            address="https://github.com/odashi/small_parallel_enja/archive/HEAD.tar.gz",
            sha256=None,
            licence="unstated (Tanaka corpus: CC BY 2.0)",
            citation="Y. Oda: small_parallel_enja, https://github.com/odashi/small_parallel_enja",
            holds=("train.en",),
        ),
        Dataset(
            name="jrte",
            summary="Japanese sentences of reviews of hotels, each bad, neither or good, and how "
            "people voted",
            address="https://github.com/megagonlabs/jrte-corpus/archive/HEAD.tar.gz",
            sha256=None,
            licence="CC BY-NC-SA 4.0",
            citation="Y. Hayashibe: Japanese Realistic Textual Entailment Corpus, LREC 2020, "
            "https://github.com/megagonlabs/jrte-corpus",
            holds=("pn.tsv", "data/pn.tsv"),
        ),
        Dataset(
            name="english_novels",
            summary="100 English novels of the 19th and the early 20th century, 14.2 million words",
            address="https://github.com/computationalstylistics/100_english_novels/archive/"
            "HEAD.tar.gz",
            sha256=None,
            licence="texts out of copyright",
            citation="Computational Stylistics Group: 100 English Novels 1.4, "
            "https://github.com/computationalstylistics/100_english_novels",
            holds=("*.txt", "*.txt.*"),
            inside="corpus",
            alone=("english_novels.txt", "english_novels.txt.xz", "english_novels.txt.gz"),
        ),
        Dataset(
            name="chitchat",
            summary="7,168 English conversations of students, 138,737 turns",
            address="https://github.com/BYU-PCCL/chitchat-dataset/archive/HEAD.tar.gz",
            sha256=None,
            licence="MIT",
            citation="W. Myers, T. Etchart, N. Fulda: Conversational Scaffolding: An Analogy-Based "
            "Approach to Response Prioritization in Open-Domain Dialogs, 2020, "
            "https://github.com/BYU-PCCL/chitchat-dataset",
            holds=("dataset.json", "dataset.json.xz", "chitchat_dataset/dataset.json"),
        ),
        Dataset(
            name="dailydialog",
            summary="13,118 English dialogues of daily life",
            address="http://yanran.li/files/ijcnlp_dailydialog.zip",
            sha256=None,
            licence="CC BY-NC-SA 4.0",
            citation="Y. Li, H. Su, X. Shen, W. Li, Z. Cao, S. Niu: DailyDialog: A Manually "
            "Labelled Multi-turn Dialogue Dataset, IJCNLP 2017, arXiv:1710.03957",
            holds=("train.zip", "train/dialogues_train.txt"),
            inside="ijcnlp_dailydialog",
        ),
        Dataset(
            name="word_similarity",
            summary="tests of word vectors: 19,544 English analogies, and pairs of Japanese words "
            "with their similarity",
            address="https://github.com/tmu-nlp/JapaneseWordSimilarityDataset/archive/HEAD.tar.gz",
            sha256=None,
            also=(
                "https://storage.googleapis.com/google-code-archive-source/v2/code.google.com/"
                "word2vec/source-archive.zip",
            ),
            licence="Apache-2.0 (analogies), CC BY-SA 3.0 (Japanese pairs)",
            citation="T. Mikolov, K. Chen, G. Corrado, J. Dean: Efficient Estimation of Word "
            "Representations in Vector Space, 2013, https://code.google.com/archive/p/word2vec; "
            "Y. Sakaizawa, M. Komachi: Construction of a Japanese Word Similarity Dataset, LREC "
            "2018",
            holds=("**/questions-words.txt", "**/score_*.csv"),
        ),
        Dataset(
            name="ett",
            summary="load and oil temperature of a transformer by the hour, two years",
            address="https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/",
            sha256=None,
            licence="CC BY-ND 4.0",
            citation="H. Zhou et al.: Informer: Beyond Efficient Transformer for Long Sequence "
            "Time-Series Forecasting, AAAI 2021, arXiv:2012.07436",
            files=(
                (
                    "ETTh1.csv",
                    "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
                ),
            ),
        ),
        Dataset(
            name="fashion-mnist",
            summary="70,000 grey images, 28 × 28, of clothes of ten classes",
            address="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            sha256=None,
            licence="MIT",
            citation="H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for "
            "Benchmarking Machine Learning Algorithms, 2017, arXiv:1708.07747",
            files=(
                # as listed by TensorFlow Datasets for its fashion_mnist
                (
                    "train-images-idx3-ubyte.gz",
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                ),
                (
                    "train-labels-idx1-ubyte.gz",
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                ),
                (
                    "t10k-images-idx3-ubyte.gz",
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                ),
                (
                    "t10k-labels-idx1-ubyte.gz",
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                ),
            ),
            installed="/usr/share/datasets/fashion-mnist",
        ),
        Dataset(
            name="images",
            summary="a photo to try things on, fruits.jpg, 512 × 480",
            address="https://raw.githubusercontent.com/opencv/opencv/4.10.0/samples/data/",
            sha256=None,
            licence="Apache-2.0",
            citation="OpenCV, https://github.com/opencv/opencv",
            files=(
                (
                    "fruits.jpg",
                    "9c031d80a1c52da5eca790db896baffec6a7e52bf786cdb7bbfca5c7f880e6a1",
                ),
            ),
        ),
    )
}


def dataset(name: str) -> Dataset:
    """What is known of the dataset of that name.

    Raises:
        InputError: there is none.
    """
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
    wanted = dataset(name)
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


def locate(name: str, given: Path | None = None) -> Path:
    """The folder or file of the dataset; it is downloaded if it is not on this machine.

    Args:
        given: a folder or file of the user's own, which is returned instead if it exists.

    Raises:
        InputError: there is no such dataset or no ``given``, or the dataset is not here and cannot
            be downloaded; the error says how to supply it.
    """
    wanted = dataset(name)
    if given is not None:
        if not given.exists():
            raise InputError(f"{given} does not exist")
        return given
    return where(name) or _download(wanted, _cache() / name)


def listing() -> str:
    """All datasets in two lines each: what it is, and its licence and where it is."""
    lines, width = [], max(map(len, DATASETS))
    for each in DATASETS.values():
        lines.append(f"{each.name:{width}} {each.summary}")
        lines.append(f"{'':{width}} {each.licence}; {_whereabouts(each)}")
    return "\n".join(lines)


def describe(name: str) -> str:
    """One dataset in full, a line for each fact."""
    each = dataset(name)
    facts = {
        "name": each.name,
        "summary": each.summary,
        "licence": each.licence,
        "citation": each.citation,
        "address": " and ".join(each.addresses),
        "sha256": " and ".join(sha256 for _, sha256 in each.files)
        or each.sha256
        or "not known; the archive is not checked",
        "folder": _whereabouts(each),
    }
    return "\n".join(f"{fact:9} {text}" for fact, text in facts.items())


def _whereabouts(wanted: Dataset) -> str:
    try:
        return str(where(wanted.name) or "not here")
    except InputError as error:
        return str(error)


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("saiki"))


def _download(wanted: Dataset, folder: Path) -> Path:
    """Fetch and unpack beside ``folder``, then rename: it is there whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=f".{wanted.name}-", ignore_cleanup_errors=True
        ) as temporary:
            made = (_fetch_files if wanted.files else _fetch_archives)(wanted, Path(temporary))
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
            f"{' and '.join(wanted.addresses)} on another machine, "
            f"{'put' if wanted.files else 'unpack'} "
            f"{'them into one folder' if len(wanted.addresses) > 1 else 'it'}"
            f"{' into a folder' if len(wanted.files) == 1 else ''}, and name its folder "
            f"{wanted.inside and wanted.inside + ' '}with --data PATH "
            f"or keep it as {wanted.name} in a folder that SAIKI_DATA names"
        ) from None
    return folder


def _fetch_archives(wanted: Dataset, temporary: Path) -> Path:
    """The folder of what is unpacked."""
    unpacked = temporary / "unpacked"
    unpack(_fetch(wanted, temporary), unpacked)
    kept = unpacked / wanted.inside
    for address in wanted.also:
        archive = _fetch(replace(wanted, address=address, sha256=None), temporary)
        unpack(archive, kept / archive.stem)
    return kept


def _fetch_files(wanted: Dataset, temporary: Path) -> Path:
    """The folder of the files."""
    folder = temporary / "files"
    for address, (_, sha256) in zip(wanted.addresses, wanted.files, strict=True):
        _fetch(replace(wanted, address=address, sha256=sha256), folder)
    return folder


def _fetch(wanted: Dataset, folder: Path) -> Path:
    """Download what is at the address into ``folder`` and check it."""
    import pooch
    from requests import RequestException

    terminal = sys.stderr.isatty()
    if wanted.sha256 is None:
        print(
            f"{wanted.name} is downloaded without a check: nobody has published the checksum of "
            f"{wanted.address}",
            file=sys.stderr,
        )
    elif terminal:
        print(f"downloading {wanted.name} from {wanted.address}", file=sys.stderr)
    try:
        with _level(pooch.get_logger(), "WARNING"):
            return Path(
                pooch.retrieve(
                    wanted.address,
                    known_hash=wanted.sha256 and f"sha256:{wanted.sha256}",
                    fname=PurePosixPath(wanted.address).name,
                    path=folder,
                    progressbar=terminal,
                )
            )
    except RequestException as error:
        raise SaikiError(_network_reason(error)) from None
    except ValueError:  # of pooch, when the checksum is another one
        raise SaikiError("its checksum is not the one that was published") from None


def _network_reason(error: Exception) -> str:
    response = getattr(error, "response", None)
    if response is not None:
        return f"the server answers {response.status_code} {response.reason}"
    broken = "ChunkedEncoding" in type(error).__name__
    return "the download broke off" if broken else "the server cannot be reached"


@contextmanager
def _level(logger: logging.Logger, level: str) -> Iterator[None]:
    kept = logger.level
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(kept)

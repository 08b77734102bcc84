"""What is known of each named dataset: where it comes from, under which terms, and what it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath


@dataclass(frozen=True)
class PublishedDataset:
    """A dataset that is published at one address: as one archive (``.tar.gz`` or ``.zip``), or,
    below it, as ``files``. The address names a version, so that it always gives the same bytes."""

    name: str
    summary: str
    address: str
    licence: str
    citation: str
    sha256: str | None = None
    """Of the archive; None where nobody has published it, and then it is only downloaded for those
    who say that they trust it."""
    holds: tuple[str, ...] = ()
    """Patterns of files; a folder in which one of them finds any is this dataset."""
    inside: str = ""
    """The folder of the archive that is the dataset, if that is not the whole."""
    alone: tuple[str, ...] = ()
    """Names of files each of which is the dataset, where there is no folder of it."""
    files: Mapping[str, str | None] = field(default_factory=dict)
    """Of a dataset that is no archive, all its files, by their paths below the address, and the
    SHA-256 of each, or None as above. They lie beside each other in the folder."""
    installed: str = ""
    """The folder where a package of a system's own has it."""

    @property
    def downloads(self) -> dict[str, str | None]:
        """All that is downloaded: addresses, and the SHA-256 of each."""
        files = {self.address + path: sha256 for path, sha256 in self.files.items()}
        return files or {self.address: self.sha256}

    def lacks(self, folder: Path) -> str:
        """What a folder lacks to be this dataset; nothing if it is."""
        if not self.holds:
            names = (PurePosixPath(path).name for path in self.files)
            return " and no ".join(name for name in names if not (folder / name).is_file())
        is_there = any(any(folder.glob(pattern)) for pattern in self.holds)
        return "" if is_there else " and no ".join(self.holds)


def _sums(text: str) -> dict[str, str | None]:
    """Files and their SHA-256, of a text as sha256sum writes it."""
    words = text.split()
    return dict(zip(words[1::2], words[::2], strict=True))


_JAPANESE = "tmu-nlp/JapaneseWordSimilarityDataset/f07ba54d414656fcfe2dd2d2fbdcb34fecc48500"
_PUBLISHED = (
    PublishedDataset(
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
    PublishedDataset(
        name="small_parallel_enja",
        summary="50,000 English and Japanese sentences from the Tanaka corpus, tokenised",
        address="https://raw.githubusercontent.com/odashi/small_parallel_enja/"
        "312408a11c5fbcbc09443bebb18121f7efdcd61e/",
        licence="unstated (Tanaka corpus: CC BY 2.0)",
        citation="Y. Oda: small_parallel_enja, https://github.com/odashi/small_parallel_enja",
        holds=("train.en",),
        files=_sums(
            """
        148b05dcd28638fe20ee84f2b1127001c80982be352007dda241fb759adadc76  train.en
        fc81a1434349ec98a449d7ae9cd2530057f689637684ecfed3501ea6a8a07ecc  train.ja
        04a2673449770657fd5e3b963cb856be3130923212b6db8ac7eaeef18f06c041  dev.en
        cd534f56b8639dc130f86a365e5ec0aa70042000bdd740a622fbbf8b6be4acca  dev.ja
        """
        ),
    ),
    PublishedDataset(
        name="jrte",
        summary="Japanese sentences of reviews of hotels, each bad, neither or good, and how "
        "people voted",
        address="https://raw.githubusercontent.com/megagonlabs/jrte-corpus/"
        "9b99bb5e8ca2db9c0ace4c0f17a4c3f4b780f1ff/",
        licence="CC BY-NC-SA 4.0",
        citation="Y. Hayashibe: Japanese Realistic Textual Entailment Corpus, LREC 2020, "
        "https://github.com/megagonlabs/jrte-corpus",
        holds=("pn.tsv", "data/pn.tsv"),
        files={"data/pn.tsv": None},
    ),
    PublishedDataset(
        name="english_novels",
        summary="100 English novels of the 19th and the early 20th century, 14.2 million words",
        address="https://github.com/computationalstylistics/100_english_novels/archive/"
        "b94dc51e0ffcfce4e902d65b56492cf0eaaaf332.tar.gz",
        licence="texts out of copyright",
        citation="Computational Stylistics Group: 100 English Novels 1.4, "
        "https://github.com/computationalstylistics/100_english_novels",
        holds=("*.txt", "*.txt.*"),
        inside="corpus",
        alone=("english_novels.txt", "english_novels.txt.xz", "english_novels.txt.gz"),
    ),
    PublishedDataset(
        name="chitchat",
        summary="7,168 English conversations of students, 138,737 turns",
        address="https://files.pythonhosted.org/packages/cb/49/"
        "c6697dfcd1263d36fff35f2889742703553083ed080c95f77dd948eaf578/"
        "chitchat_dataset-0.9.0-py3-none-any.whl",
        # as PyPI lists it
        sha256="7bf89f36645e2d5ec87d53370c8e851b5a688479c7beb7079cb4c87fc5acea3e",
        licence="MIT",
        citation="W. Myers, T. Etchart, N. Fulda: Conversational Scaffolding: An Analogy-Based "
        "Approach to Response Prioritization in Open-Domain Dialogs, 2020, "
        "https://github.com/BYU-PCCL/chitchat-dataset",
        holds=("dataset.json", "dataset.json.xz", "chitchat_dataset/dataset.json"),
    ),
    PublishedDataset(
        name="dailydialog",
        summary="13,118 English dialogues of daily life",
        address="http://yanran.li/files/ijcnlp_dailydialog.zip",
        # as listed by Hugging Face Datasets for its daily_dialog
        sha256="c641e88cbf21fd7c1b57289387f9107d33fe8685a2b37fe8066b82776535ea89",
        licence="CC BY-NC-SA 4.0",
        citation="Y. Li, H. Su, X. Shen, W. Li, Z. Cao, S. Niu: DailyDialog: A Manually "
        "Labelled Multi-turn Dialogue Dataset, IJCNLP 2017, arXiv:1710.03957",
        holds=("train.zip", "train/dialogues_train.txt"),
        inside="ijcnlp_dailydialog",
    ),
    PublishedDataset(
        name="word_similarity",
        summary="tests of word vectors: 19,544 English analogies, and pairs of Japanese words "
        "with their similarity",
        address="https://raw.githubusercontent.com/",
        licence="Apache-2.0 (analogies), CC BY-SA 3.0 (Japanese pairs)",
        citation="T. Mikolov, K. Chen, G. Corrado, J. Dean: Efficient Estimation of Word "
        "Representations in Vector Space, 2013, https://code.google.com/archive/p/word2vec; "
        "Y. Sakaizawa, M. Komachi: Construction of a Japanese Word Similarity Dataset, LREC "
        "2018",
        holds=("**/questions-words.txt", "**/score_*.csv"),
        files=_sums(
            f"""
        8c29b3332afc46f3fb8be04cb5297bf96f39aa7131272dff57869b4485b22a36
        tmikolov/word2vec/20c129af10659f7c50e86e3be406df663beff438/questions-words.txt
        b6ba163c263f9fa196bf6dc24ac3ff20c1317391cc5a47110906ed6a80c02db1  {_JAPANESE}/score_noun.csv
        6eda632426d55ff20d8a38465369de5b7c14a40b0771ca753dfc77386ab297d3  {_JAPANESE}/score_verb.csv
        29eac98c17f0220e50f94e31e863820a002347efb7839d6b088d0e185877e132  {_JAPANESE}/score_adj.csv
        09116ffe2b6e624d2955249358a81d50914e865c8eb51617e2a1ed115b084814  {_JAPANESE}/score_adv.csv
        """
        ),
    ),
    PublishedDataset(
        name="ett",
        summary="load and oil temperature of a transformer by the hour, two years",
        address="https://raw.githubusercontent.com/zhouhaoyi/ETDataset/"
        "1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small/",
        licence="CC BY-ND 4.0",
        citation="H. Zhou et al.: Informer: Beyond Efficient Transformer for Long Sequence "
        "Time-Series Forecasting, AAAI 2021, arXiv:2012.07436",
        files={"ETTh1.csv": "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066"},
    ),
    PublishedDataset(
        name="fashion-mnist",
        summary="70,000 grey images, 28 × 28, of clothes of ten classes",
        address="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        licence="MIT",
        citation="H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a Novel Image Dataset for "
        "Benchmarking Machine Learning Algorithms, 2017, arXiv:1708.07747",
        # as listed by TensorFlow Datasets for its fashion_mnist
        files=_sums(
            """
        3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84  train-images-idx3-ubyte.gz
        a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845  train-labels-idx1-ubyte.gz
        346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073  t10k-images-idx3-ubyte.gz
        67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5  t10k-labels-idx1-ubyte.gz
        """
        ),
        installed="/usr/share/datasets/fashion-mnist",
    ),
    PublishedDataset(
        name="images",
        summary="a photo to try things on, fruits.jpg, 512 × 480",
        address="https://raw.githubusercontent.com/opencv/opencv/4.10.0/samples/data/",
        licence="Apache-2.0",
        citation="OpenCV, https://github.com/opencv/opencv",
        files={"fruits.jpg": "9c031d80a1c52da5eca790db896baffec6a7e52bf786cdb7bbfca5c7f880e6a1"},
    ),
)
DATASETS = {each.name: each for each in _PUBLISHED}
"""By their names."""

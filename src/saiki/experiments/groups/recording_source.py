"""Where the recordings of an exercise come from, and which of them are tested."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from saiki.data import store
from saiki.data.skipped import strict
from saiki.data.sound.recordings import Recordings, load
from saiki.data.sound.splits import SPLITS, Split, by_default, split
from saiki.data.tables.encoding import Encoding
from saiki.errors import InputError
from saiki.knobs import Knobs, knob


class RecordingSource(Knobs):
    """FSDD, or a folder of recordings."""

    data: str = knob(
        "",
        "folder of recordings, one subfolder a class, or a table of path and label; FSDD without",
        is_path=True,
    )
    encoded: Encoding = Encoding()
    split: str = knob(
        "auto",
        "what is tested: takes 0 to 4 (official), 15 % at random, or speakers; auto: official "
        "where takes are known, otherwise random",
        choices=("auto", *SPLITS),
    )
    strict: bool = strict()
    test_speakers: str = knob("", "speakers never heard in training, with commas between")

    def validate(self) -> None:
        if self.test_speakers and self.split != "speakers":
            raise InputError("test_speakers goes with split speakers")

    def load(self, rate: int) -> Recordings:
        """All recordings, at ``rate`` Hz; see :func:`saiki.data.sound.recordings.load`."""
        source = store.locate("fsdd", Path(self.data) if self.data else None)
        return load(source, rate, self.strict, self.encoded.encoding)

    def tested_by(self, recordings: Recordings) -> str:
        """The split that is meant."""
        return by_default(recordings) if self.split == "auto" else self.split

    def parts(self, recordings: Recordings, seed: int) -> Split:
        """Which of them are learned from, which validate and which are tested."""
        speakers = [name.strip() for name in self.test_speakers.split(",") if name.strip()]
        return split(recordings, self.tested_by(recordings), seed, speakers)

    def items(self, recordings: Recordings) -> dict[str, Iterable[str | bytes]]:
        """What is learned from and judged by, wherever the files lie."""
        heard = zip(recordings.entries, recordings.waves, strict=True)
        return {
            "classes": recordings.classes,
            "recordings": (f"{replace(e, path=Path())}".encode() + w.tobytes() for e, w in heard),
        }

    def describe(self, recordings: Recordings, parts: Split) -> str:
        """How many recordings each part has."""
        return (
            f"{recordings.in_words()}: {len(parts.train):,} to learn from, "
            f"{len(parts.validation):,} to validate, {len(parts.test):,} to test "
            f"(split {self.tested_by(recordings)})"
        )

"""Data: named datasets, sound files, labelled recordings and synthetic speakers.

Speakers are drawn by ``saiki.data.voices.voices``.
"""

from saiki.data.layouts import Recording, find
from saiki.data.recordings import Recordings, Skipped, load
from saiki.data.sound import LONGEST, SoundError, Wave, read, record, resample, save
from saiki.data.splits import SPLITS, Split, split
from saiki.data.store import DATASETS, Dataset, dataset, describe, listing, locate, where
from saiki.data.voices import Voice, say, say_all

__all__ = [
    "DATASETS",
    "LONGEST",
    "SPLITS",
    "Dataset",
    "Recording",
    "Recordings",
    "Skipped",
    "SoundError",
    "Split",
    "Voice",
    "Wave",
    "dataset",
    "describe",
    "find",
    "listing",
    "load",
    "locate",
    "read",
    "record",
    "resample",
    "save",
    "say",
    "say_all",
    "split",
    "where",
]

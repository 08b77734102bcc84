"""Data: named datasets, sound files, labelled recordings and synthetic speakers.

Speakers are drawn by ``saiki.data.sound.voices.voices``.
"""

from saiki.data.datasets import DATASETS, PublishedDataset
from saiki.data.skipped import Skipped
from saiki.data.sound.files import LONGEST, SoundError, Wave, read, record, resample, save
from saiki.data.sound.layouts import Recording, find
from saiki.data.sound.recordings import Recordings, load
from saiki.data.sound.splits import SPLITS, Split, split
from saiki.data.sound.voices import Voice, say, say_all
from saiki.data.store import describe, listing, locate, where

__all__ = [
    "DATASETS",
    "LONGEST",
    "SPLITS",
    "PublishedDataset",
    "Recording",
    "Recordings",
    "Skipped",
    "SoundError",
    "Split",
    "Voice",
    "Wave",
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

"""Data: named datasets, sound files, labelled recordings, tables, texts and images."""

from saiki.data.datasets import DATASETS, PublishedDataset
from saiki.data.skipped import Skipped
from saiki.data.sound.files import LONGEST, SoundError, Wave, read, record, resample, save
from saiki.data.sound.layouts import Recording, Recordings, find, load
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

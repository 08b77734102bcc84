"""The exercises, each a file or a folder, by the name the command line gives them."""

import importlib
from typing import TYPE_CHECKING

from saiki.errors import InputError, near, shown

if TYPE_CHECKING:
    from saiki.experiment import Experiment

HOMES = {
    "adder": ("saiki.experiments.adder", "Adder"),
    "sin-cos": ("saiki.experiments.sin_cos", "SinCos"),
    "date": ("saiki.experiments.date", "Date"),
    "translate": ("saiki.experiments.translate", "Translate"),
    "proofread": ("saiki.experiments.proofread", "Proofread"),
    "masked-lm": ("saiki.experiments.masked_lm", "MaskedLanguage"),
    "sentences": ("saiki.experiments.sentences.exercise", "Sentences"),
    "words": ("saiki.experiments.words.exercise", "Words"),
    "forecast": ("saiki.experiments.forecast.exercise", "Forecasting"),
    "augment": ("saiki.experiments.augment.exercise", "Augment"),
    "spoken-digits": ("saiki.experiments.spoken_digits", "SpokenDigits"),
    "vae": ("saiki.experiments.vae.exercise", "Autoencoding"),
    "dialogue": ("saiki.experiments.dialogue.exercise", "Conversing"),
    "sentence-vae": ("saiki.experiments.sentence_vae.exercise", "SentenceCodes"),
    "vq-vae": ("saiki.experiments.vq_vae.exercise", "VQVAEs"),
    "sound-codes": ("saiki.experiments.sound_codes.exercise", "SoundCodes"),
}


def refuse_unknown(name: str) -> None:
    """Raise :class:`InputError` if there is no experiment of that name."""
    if not isinstance(name, str) or name not in HOMES:
        hint = near(name, HOMES) if isinstance(name, str) else ""
        raise InputError(
            f"there is no experiment {shown(name)}; there are {', '.join(HOMES)}{hint}"
        )


def load(name: str) -> "type[Experiment]":
    """The experiment of that name.

    Raises:
        InputError: there is none.
    """
    refuse_unknown(name)
    module, attribute = HOMES[name]
    experiment: type[Experiment] = getattr(importlib.import_module(module), attribute)
    return experiment

"""Sounds as codes: a recurrent autoencoder with a codebook, and new sounds from a prior over it."""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from saiki.capabilities import Annotates, Draws, Exports, Monitors
from saiki.data.sound.files import Sound, read, save
from saiki.data.sound.layouts import SOUND, Recording
from saiki.data.sound.recorded import RecordingSource, SpectrumChoice
from saiki.duration import Epochs
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, placed, untrained
from saiki.experiments.groups.comparison import compare, in_every_seed, in_words
from saiki.experiments.groups.layers import Layers
from saiki.experiments.groups.quantisation import (
    Quantisation,
    SequencePriorChoice,
    coded_measures,
    draw_usage,
    error_with_costs,
    known_labels,
    of_validation,
)
from saiki.experiments.sound_codes import measures as sounds
from saiki.experiments.sound_codes.measures import Batch, LabelledWaves
from saiki.files import to_json
from saiki.knobs import Value, knob
from saiki.models.parts import Part, Parts
from saiki.models.sound_vqvae import SoundVQVAE
from saiki.optimisation import Optimisation
from saiki.plots.sound_codes import CodedSound, draw_sound_codes
from saiki.prediction import Prediction

WITHOUT_PRIOR: Mapping[str, Value] = {"prior": False, "epochs": 8.0}
"""Nothing is drawn, so that all claims are decided within half an hour."""
FEW: Mapping[str, Value] = {**WITHOUT_PRIOR, "frames_per_code": 8}
LARGE: Mapping[str, Value] = {**WITHOUT_PRIOR, "codes": 4096}
RESIDUAL: Mapping[str, Value] = {**WITHOUT_PRIOR, "stages": 2, "codes": 64}
USED = 0.9
RECOGNISED = "judge_accuracy_reconstructions"


def _of(trial: Trial) -> str:
    bits = f"{trial.mean('bits_per_second'):.0f} bits a second"
    return f"{bits} in {trial.knobs['stages']} × {trial.knobs['codes']} codes"


def _easier_to_recognise(trials: Sequence[Trial]) -> tuple[bool, str]:
    easier = compare(trials[0], trials[1], RECOGNISED)
    shown = in_words(trials, _of, "codes_per_second", RECOGNISED, "judge_accuracy")
    return easier.is_more, f"{shown}; easier by {easier}"


def _nearer(trials: Sequence[Trial]) -> tuple[bool, str]:
    farther = compare(trials[0], trials[1], "reconstruction_error")
    shown = in_words(trials, _of, "reconstruction_error", RECOGNISED)
    return farther.is_less, f"{shown}; farther by {farther}"


def _in_use(trials: Sequence[Trial]) -> tuple[bool, str]:
    used = in_every_seed(trials, "codebook_usage", lambda usage: usage >= USED)
    return used, in_words(trials, _of, "codebook_usage", "codebook_perplexity")


CLAIMS = (
    Claim(
        "A classifier knows more of the sounds that come back from four times as many codes a "
        "second",
        "small",
        (FEW, WITHOUT_PRIOR),
        _easier_to_recognise,
    ),
    Claim(
        "Two codebooks of 64 codes, one for what the other leaves, bring spectra back better than "
        "one of 4096, at the same bits a second",
        "small",
        (LARGE, RESIDUAL),
        _nearer,
    ),
    Claim(
        "At least 90 % of the codes are used on held-out recordings, of one codebook and of two, "
        "few a second and many",
        "small",
        (FEW, WITHOUT_PRIOR, RESIDUAL),
        _in_use,
    ),
)


SHOWN, WRITTEN, NEW_OF_A_CLASS, NEW_JUDGED = 6, 10, 2, 20
"""Recordings of a picture and of the folder of sounds; new ones of a class there, and judged."""
SMALL: dict[str, Value] = {"epochs": 8.0, "updates": 200, "hidden_size": 64, "judge": 150}
"""What teaches something within an hour."""


class SoundCodes(Annotates, Draws, Exports, Monitors, Experiment[SoundVQVAE, Batch]):
    """A recurrent encoder makes a short sequence of codes of the spectrum of a recording, each the
    nearest of a codebook, and a recurrent decoder the spectrum from the codes, from which comes
    a wave to be listened to. Meanwhile a recurrent network learns in which order codes come and
    when they end, so that new sounds can be drawn, of a class if wanted. The default, also called
    ``good``, is for spoken digits.
    """

    source: RecordingSource = RecordingSource()
    spectrum: SpectrumChoice = SpectrumChoice()
    frames_per_code: int = knob(
        2, "frames of the spectrum that become one code, or one of each", minimum=1, maximum=256
    )
    recurrent: Layers = Layers(hidden_size=128)
    quantisation: Quantisation = Quantisation()
    code_prior: SequencePriorChoice = SequencePriorChoice()
    judge: int = knob(
        300,
        "updates of the classifier that listens to what comes back; 0: none",
        minimum=0,
        maximum=10**6,
    )
    duration: Epochs = Epochs(epochs=30.0, updates=800)
    optimisation: Optimisation = Optimisation(
        batch_size=32, learning_rate=0.002, schedule="cosine", warmup=0.05, clip_norm=1.0
    )

    name = "sound-codes"
    summary = "learn a codebook of which sounds are made, and draw new ones"
    minutes = 3.6
    score = "spectral_snr"
    selected_by = "validation_error"
    shown = ("loss", "validation_error", "validation_codebook_usage", "validation_prior_nll")
    takes = SOUND
    points = 20
    presets: ClassVar[Mapping[str, Mapping[str, Value]]] = {
        "good": {},
        "small": SMALL,
        "quick": SMALL | {"most_updates": 300},
    }
    claims = CLAIMS

    @cached_property
    def data(self) -> LabelledWaves:
        batching = self.optimisation.batching
        return LabelledWaves(batching, self.source, self.spectrum, self.seed, self.dtype)

    def model(self) -> SoundVQVAE:
        return self.network(self.data.recordings.classes)

    def network(self, classes: Sequence[str] = ("a", "b")) -> SoundVQVAE:
        """A new model of recordings of these classes."""
        spectrum, latent = self.spectrum.build(), self.quantisation.build()
        encoder = self.recurrent.build(self.frames_per_code * spectrum.bins)
        decoder = self.recurrent.build(latent.size)
        prior = self.code_prior.build(self.recurrent.cell, latent, len(classes))
        layers = encoder, decoder, self.frames_per_code
        return SoundVQVAE(spectrum, latent, *layers, prior, classes)

    def measure(self, model: SoundVQVAE, batch: Batch) -> Measures:
        waves, lengths, labels = batch
        back, nll = model.autoencode(*model.spectrum(waves, lengths)), None
        if model.prior is not None:
            known = known_labels(model.prior, labels)
            nll = model.prior.nll(back.codes, known, back.steps).mean()
        return coded_measures(back.latent, back.loss, back.error, nll)

    def monitor(self, model: SoundVQVAE) -> dict[str, float]:
        return of_validation(sounds.measured(model, self.data, self.data.parts.validation))

    def evaluate(self, model: SoundVQVAE) -> Figures:
        train, test = self.data.parts.train, self.data.parts.test
        figures: Figures = dict(sounds.measured(model, self.data, test))
        about = (self.judge, self._longest(model), NEW_JUDGED)
        figures |= sounds.judge_figures(model, self.data, train, test, *about)
        return {**figures, "skipped_files": float(len(self.data.recordings.skipped))}

    def _longest(self, model: SoundVQVAE) -> int:
        """Steps at which new sounds are cut."""
        waves = [self.data.recordings.waves[i] for i in self.data.parts.train]
        return sounds.longest_of(model, waves, self.spectrum.seconds)

    @torch.no_grad()
    def draw(self, model: SoundVQVAE, points: Points, folder: Path) -> list[Path]:
        shown = self.data.of_each_class(self.data.parts.test, SHOWN)
        z, frames, _, _, autoencoded = sounds.coded(model, self.data.padded(shown))
        pictured = [
            CodedSound(
                _name(self.data.recordings.entries[i]),
                z[row, : frames[row]],
                autoencoded.codes[row, : autoencoded.steps[row]],
                autoencoded.spectra[row, : frames[row]],
            )
            for row, i in enumerate(shown)
        ]
        frame = self.spectrum.hop / self.spectrum.rate
        pace, highest = (frame, frame * self.frames_per_code), self.spectrum.rate / 2
        path, codes = folder / "codes.png", model.quantiser.codes
        pictures = [draw_sound_codes(path, pictured, codes, pace, highest, self.title)]
        if model.quantiser.books:
            pictures.append(draw_usage(points, codes, folder / "usage.png", self.title))
        return [*pictures, self._write(model, folder / "sounds")]

    def _write(self, model: SoundVQVAE, folder: Path) -> Path:
        """Recordings, what comes back of them, and new sounds, as WAV files."""
        some = self.data.of_each_class(self.data.parts.test, WRITTEN)
        waves = dict[str, Tensor]()
        for i, back in zip(some, sounds.returned(model, self.data, some), strict=True):
            name = f"{i}-{Path(self.data.recordings.entries[i].name).stem}"
            waves |= {name: self.data.waves([i])[0], f"{name}-back": back}
        if model.prior is not None:
            by_class = model.prior.classes > 0
            names = model.classes if by_class else ("sound",)
            labels = torch.arange(len(names)).repeat_interleave(NEW_OF_A_CLASS)
            for n, wave in enumerate(sounds.new_sounds(model, labels, self._longest(model))):
                plain = re.sub(r"[^\w-]+", "_", names[labels[n]])[:40]  # a class may be any text
                waves[f"new-{plain}-{n + 1}"] = wave
        for name, wave in waves.items():
            save(folder / f"{name}.wav", wave.numpy(), self.spectrum.rate)
        return folder

    @torch.no_grad()
    def predict(self, model: SoundVQVAE, text: str) -> Prediction:
        wave = torch.from_numpy(read(text, self.spectrum.rate))[None]  # all of it
        waves, lengths = placed((wave, torch.tensor([wave.shape[1]])), model)
        z, frames = model.spectrum(waves, lengths)
        autoencoded = model.autoencode(z, frames)
        [back] = model.waves(autoencoded.spectra, frames, lengths)
        error, pace = (
            autoencoded.error.item(),
            len(autoencoded.codes[0]) / (len(back) / self.spectrum.rate),
        )
        figures: dict[str, Any] = {"reconstruction_error": error}
        line = f"{text}: squared error {error:.4f}"
        if model.quantiser.books:
            codes, pace = autoencoded.codes[0].tolist(), pace * model.quantiser.books
            figures |= {"codes": codes, "codes_per_second": pace}
            listed = " ".join("·".join(map(str, step)) for step in codes)
            line += f", {pace:.1f} codes a second: {listed}"
        output = Sound(back.cpu().numpy(), self.spectrum.rate)
        return Prediction(input=text, output=output, figures=figures, text=line)

    def exported(self, model: SoundVQVAE) -> Parts:
        encoder, decoder = Part(model, "encode"), Part(model, "spectra")
        x = self.data.example()
        return {"encoder": (encoder, x), "decoder": (decoder, encoder(*x))}

    def metadata(self, model: SoundVQVAE) -> dict[str, str]:
        about = {name: getattr(self.spectrum, name) for name in ("rate", "window", "hop", "floor")}
        return {"classes": to_json(model.classes)} | {n: str(value) for n, value in about.items()}

    def equations(self) -> str:
        model = untrained(self.network)
        prior = "codes, end" if model.prior is not None else ""
        return f"{model.equations()}\n{error_with_costs('|z − ẑ|²', model.quantiser, prior)}"


def _name(recording: Recording) -> str:
    """What it is, and who speaks."""
    return recording.label + (f" ({recording.speaker})" if recording.speaker else "")

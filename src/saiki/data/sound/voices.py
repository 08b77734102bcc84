"""Synthetic speakers by espeak-ng, whose library and data come with the package espeakng-loader.

A voice of a language other than English reads English words with that language's sounds, so a
word spelled its way (:func:`digit`) comes out with a foreign accent.
"""

import ctypes
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from saiki.data.sound.files import Wave, check_rate, resample
from saiki.errors import InputError, SaikiError

ENGLISH = (
    *("en-us", "en", "en-gb-scotland", "en-gb-x-rp"),
    *("en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029", "en-us-nyc"),
)
"""Kinds of English: American, British, Scottish, Received Pronunciation, Lancaster, West Midlands,
Caribbean, New York."""

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = {
    "de": ("siro", "wonn", "tuh", "sri", "fohr", "feif", "ßiks", "säwwen", "äjt", "nein"),
    "nl": ("ziero", "wan", "toe", "srie", "foor", "faajf", "siks", "sevven", "eet", "najn"),
    "fr": ("zirau", "ouane", "tou", "sri", "faure", "faïve", "sixe", "sévène", "éïte", "naïne"),
    "es": ("siro", "uan", "tu", "srí", "for", "faif", "six", "seven", "eit", "nain"),
    "it": ("sirou", "uan", "tu", "tri", "for", "faiv", "sics", "seven", "eit", "nain"),
    "pl": ("ziroł", "łan", "tu", "sri", "for", "fajw", "siks", "sewen", "ejt", "najn"),
    "sv": ("sirå", "vann", "to", "tri", "får", "fajv", "sicks", "seven", "ejt", "najn"),
    "el": ("ζίροου", "ουάν", "του", "θρι", "φορ", "φάιβ", "σιξ", "σέβεν", "έιτ", "νάιν"),
    "tr": ("ziro", "van", "tu", "tri", "for", "fayv", "siks", "sevın", "eyt", "nayn"),
    "fi": ("siirou", "van", "tuu", "srii", "foor", "faiv", "siks", "seven", "eit", "nain"),
    "hu": ("zíró", "van", "tú", "szrí", "fór", "fájv", "sziksz", "szeven", "éjt", "nájn"),
    "ro": ("zirou", "uan", "tu", "sri", "for", "faiv", "sics", "seven", "eit", "nain"),
}
"""The English digits 0 to 9 in the spelling of other languages."""

VARIANTS = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5"),
    *("klatt", "klatt2", "klatt3", "klatt4", "klatt6", "Alex", "Alicia", "Andrea", "Andy"),
    *("Annie", "Denis", "Diogo", "Gene", "Gene2", "Henrique", "Hugo", "Jacky", "Lee", "Marco"),
    *("Mario", "Michael", "Mike", "Nguyen", "Reed", "adam", "anika", "announcer", "antonio"),
    *("aunty", "belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "grandma"),
    *("grandpa", "gustave", "ian", "iven", "john", "kaukovalta", "linda", "marcelo", "max"),
    *("michel", "miguel", "mike2", "norbert", "pablo", "paul", "pedro", "quincy", "rob", "robert"),
    *("sandro", "shelby", "steph", "travis", "victor", "zac"),
)
"""Throats of espeak-ng that sound like somebody speaking, not those that whisper or croak."""

QUIET = 0.02
"""Of the peak; what is quieter is cut off before and after the speech."""
_BEFORE, _AFTER = 0.01, 0.03  # seconds kept around the speech
_SYNCHRONOUS, _DO_NOT_EXIT, _UTF8 = 2, 0x8000, 1
_SPEED, _PITCH, _RANGE = 1, 3, 4


@dataclass(frozen=True)
class Voice:
    """A speaker: the language or kind of English, the throat, and the manner of speaking."""

    language: str = "en-us"
    variant: str = ""
    """One of ``VARIANTS``, or nothing for the language's own."""
    rate: float = 160.0
    """Words per minute, 80 to 450."""
    pitch: float = 50.0
    """0 to 100; 50 is the throat's own."""
    pitch_range: float = 50.0
    """0, a monotone, to 100; 50 is the throat's own."""

    def __post_init__(self) -> None:
        for name, low, high in (("rate", 80, 450), ("pitch", 0, 100), ("pitch_range", 0, 100)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} of a voice must lie from {low} to {high}, got {value}")

    @property
    def name(self) -> str:
        """The name for espeak-ng: ``en-us+f3``."""
        return f"{self.language}+{self.variant}" if self.variant else self.language


def voices(count: int, seed: int, accents: float = 0.35) -> tuple[Voice, ...]:
    """``count`` different ways of speaking, drawn by ``seed``.

    Args:
        accents: the probability that one is not of ``ENGLISH`` but of ``ACCENTS``.
    """
    draw = numpy.random.default_rng(seed)
    speakers = []
    for _ in range(count):
        languages = list(ACCENTS) if draw.random() < accents else ENGLISH
        speakers.append(
            Voice(
                language=languages[draw.integers(len(languages))],
                variant=("", *VARIANTS)[draw.integers(len(VARIANTS) + 1)],
                rate=float(draw.uniform(90, 240)),
                pitch=float(draw.uniform(10, 90)),
                pitch_range=float(draw.uniform(20, 90)),
            )
        )
    return tuple(speakers)


def digit(number: int, voice: Voice) -> str:
    """The English word for 0 to 9, spelled so that ``voice`` says it in English."""
    if not 0 <= number <= 9:
        raise InputError(f"a digit must lie from 0 to 9, got {number}")
    return ACCENTS.get(voice.language, DIGITS)[number]


def say(text: str, voice: Voice, rate: int) -> Wave:
    """``text`` said by ``voice``: float32 of shape (samples,) at ``rate`` Hz, silence cut off.

    The same samples in every process, whatever was said before. :func:`say_all` says many texts
    five times as fast.

    Raises:
        InputError: there is no such voice, or nothing to say in ``text``.
        SaikiError: the package espeakng-loader is missing or does not work here.
    """
    return say_all([(text, voice)], rate)[0]


def say_all(lines: Sequence[tuple[str, Voice]], rate: int) -> tuple[Wave, ...]:
    """Each text said by its voice, as by :func:`say`.

    The same list gives the same samples in every process; how a text sounds depends, just
    audibly, on those before it, as the throat does not start anew for each. Threads take turns.
    """
    check_rate(rate)
    with _lock, _engine() as engine:
        waves = [engine.say(text, voice) for text, voice in lines]
        own = engine.rate
    return tuple(
        _trimmed(resample(wave, own, rate), rate, text)
        for wave, (text, _) in zip(waves, lines, strict=True)
    )


def _trimmed(wave: Wave, rate: int, text: str) -> Wave:
    loud = numpy.flatnonzero(numpy.abs(wave) > QUIET * numpy.abs(wave).max(initial=0.0))
    if not len(loud):
        raise InputError(f"there is nothing to say in {text!r}")
    first, last = int(loud[0]), int(loud[-1])
    return wave[max(0, first - round(_BEFORE * rate)) : last + 1 + round(_AFTER * rate)]


_lock = threading.Lock()
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


class _Engine:
    """The library as it is right after loading; it keeps its state in global variables."""

    def __init__(self, library: Any, data: Path) -> None:
        self.library = library
        self.variants = {path.name for path in (data / "voices" / "!v").iterdir()}
        self.rate: int = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), _DO_NOT_EXIT)
        if self.rate <= 0:
            raise SaikiError(f"espeak-ng does not start with the data in {data}")
        # breath is noise of two generators: its own, seeded by the clock, and that of the C library
        library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        if hasattr(library, "srand"):  # found through the library where the system allows
            library.srand(1)
        self.pieces: list[Wave] = []
        self.callback = _Callback(self.collect)  # it must live as long as the library may call it
        library.espeak_SetSynthCallback(self.callback)

    def collect(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            piece = numpy.ctypeslib.as_array(samples, (count,))
            self.pieces.append(piece.astype(numpy.float32) / numpy.float32(32768))
        return 0

    def say(self, text: str, voice: Voice) -> Wave:
        """float32 of shape (samples,) at ``self.rate``."""
        # espeak-ng itself takes the language's own throat for one that it does not know
        known = not voice.variant or voice.variant in self.variants
        if not known or self.library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise InputError(
                f"espeak-ng has no voice {voice.name!r}; {ENGLISH[0]} is a language and "
                f"{ENGLISH[0]}+{VARIANTS[0]} one with another throat"
            )
        manner = ((_SPEED, voice.rate), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range))
        for parameter, value in manner:
            self.library.espeak_SetParameter(parameter, round(value), 0)
        self.pieces.clear()
        data = text.encode() + b"\0"
        self.library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 0, 0, _UTF8, None, None)
        self.library.espeak_Synchronize()
        return numpy.concatenate([numpy.empty(0, numpy.float32), *self.pieces])


@contextmanager
def _engine() -> Iterator[_Engine]:
    """Load the library, and unload it: nothing else forgets the phases of its oscillators."""
    try:
        import espeakng_loader
    except ImportError:
        raise SaikiError(
            "synthetic voices need the package espeakng-loader: pip install 'saiki[voices]'"
        ) from None
    try:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        engine = _Engine(library, Path(espeakng_loader.get_data_path()))
    except (OSError, RuntimeError, AttributeError) as error:
        raise SaikiError(f"espeak-ng cannot be used here: {error}") from None
    try:
        yield engine
    finally:
        library.espeak_Terminate()
        _unload(library._handle)


def _unload(handle: int) -> None:
    import _ctypes

    unload = getattr(_ctypes, "FreeLibrary", None) or _ctypes.dlclose
    unload(handle)

"""Dates as people write them, in many languages, and in ISO 8601.

The forms of each language are those of the Unicode Common Locale Data Repository, which the package
Babel holds; English has ordinal numbers beside them, Japanese the years of emperors' reigns, and
Japanese and Chinese numbers in Chinese characters. A form in which day and month could be mistaken
for each other, as in 3/5/2024, is left out.
"""

import datetime
import re
import unicodedata
from functools import cached_property

import numpy as np
from babel import Locale, UnknownLocaleError
from babel.dates import format_date, get_month_names

from saiki.data.text.pair_rows import TextPairs
from saiki.data.text.pairs import Corpus, Pairs
from saiki.errors import InputError
from saiki.knobs import Knobs, knob
from saiki.text import Text

ERAS = (
    ("令和", datetime.date(2019, 5, 1)),
    ("平成", datetime.date(1989, 1, 8)),
    ("昭和", datetime.date(1926, 12, 25)),
    ("大正", datetime.date(1912, 7, 30)),
)
"""The reigns and their first days, the last one first."""
HELD = 0.05
"""Of the days, those set apart to develop: no form of them is learned from."""


def forms(day: datetime.date, language: str) -> list[str]:
    """How a day is written in a language, such as ``en``, ``en_GB``, ``de`` or ``ja``.

    >>> forms(datetime.date(2024, 3, 5), "fr")
    ['mardi 5 mars 2024', '5 mars 2024', '2024-03-05']
    """
    try:
        locale = Locale.parse(language)
    except (UnknownLocaleError, ValueError):
        raise InputError(
            f"{language!r} is no language that can be written; give codes such as en, de or ja"
        ) from None
    written = [format_date(day, form, locale=locale) for form in ("full", "long", "medium")]
    if locale.language == "en":
        written += _english(day, locale)
    if locale.language == "ja":
        written += _japanese(day)
    if locale.language in ("ja", "zh"):
        written.append(f"{_digits(day.year)}年{_chinese(day.month)}月{_chinese(day.day)}日")
    written.append(day.isoformat())
    plain = (unicodedata.normalize("NFKC", form).replace("\u200f", "") for form in written)
    return list(dict.fromkeys(f for f in plain if not re.fullmatch(r"\d{1,2}/\d{1,2}/\d+", f)))


def _english(day: datetime.date, locale: Locale) -> list[str]:
    ends = {1: "st", 2: "nd", 3: "rd"}
    end = "th" if 11 <= day.day <= 13 else ends.get(day.day % 10, "th")
    month = get_month_names("wide", locale=locale)[day.month]
    return [
        f"{month} {day.day}{end}, {day.year}",
        f"the {day.day}{end} of {month} {day.year}",
        f"{day.day} {month[:3]} {day.year}",
    ]


def _japanese(day: datetime.date) -> list[str]:
    dotted = f"{day.year}.{day.month}.{day.day}"
    for name, first in ERAS:
        if day >= first:
            year = day.year - first.year + 1
            reign = f"{name}{'元' if year == 1 else year}年"
            return [dotted, f"{reign}{day.month}月{day.day}日"]
    return [dotted]


def _digits(number: int) -> str:
    return "".join("〇一二三四五六七八九"[int(digit)] for digit in str(number))


def _chinese(number: int) -> str:
    """Up to 99: 十 for ten, 二十一 for twenty-one."""
    tens, ones = divmod(number, 10)
    of_tens = (_digits(tens) if tens > 1 else "") + "十" * bool(tens)
    return of_tens + (_digits(ones) if ones else "")


class DateSource(Knobs):
    """Which dates there are, and how many of them."""

    languages: str = knob(
        "en_US en_GB de fr es it pt nl sv pl ru ja zh ko",
        "codes of languages that Babel knows, with spaces between",
    )
    first_year: int = knob(1950, "of the dates", minimum=1, maximum=9998)
    last_year: int = knob(2049, "of the dates", minimum=1, maximum=9998)
    pairs: int = knob(40_000, "dates to learn from", minimum=1)

    def validate(self) -> None:
        if not self.languages.split():
            raise InputError("languages must hold one code at least, such as en")


class Dates(TextPairs):
    """Dates and their ISO forms; the same for the same seed."""

    source: DateSource
    seed: int

    @cached_property
    def corpus(self) -> Corpus:
        return self._made[0]

    @property
    def languages_of_held(self) -> list[str]:
        """The language of each date to develop."""
        return self._made[1]

    @cached_property
    def texts(self) -> tuple[Text, Text]:
        train = self.corpus.train
        return Text.learn("characters", train.source), Text.learn("characters", train.target)

    @cached_property
    def _made(self) -> tuple[Corpus, list[str]]:
        """Days are drawn evenly from those of the years, then a language, then one of its forms;
        some lose their capitals or their commas and full stops, as people leave them out. There are
        a twentieth as many pairs, of other days, to develop."""
        draw, languages = np.random.default_rng(self.seed), self.source.languages.split()
        first, last, count = self.source.first_year, self.source.last_year, self.source.pairs
        start = datetime.date(first, 1, 1)
        days = (datetime.date(last, 12, 31) - start).days + 1
        if days < 1:
            raise InputError(f"the last year must not come before the first, {first}, got {last}")
        order = draw.permutation(days)
        days_of_parts = order[: max(1, round(HELD * days))], order[max(1, round(HELD * days)) :]
        made = []
        for of_part, number in zip(
            days_of_parts, (max(1, round(HELD * count)), count), strict=True
        ):
            written, iso, spoken = list[str](), list[str](), list[str]()
            for which in of_part[draw.integers(len(of_part), size=number)].tolist():
                day = start + datetime.timedelta(which)
                language = languages[int(draw.integers(len(languages)))]
                written_forms = forms(day, language)
                written.append(_typed(written_forms[draw.integers(len(written_forms))], draw))
                iso.append(day.isoformat())
                spoken.append(language)
            made.append((Pairs(written, iso), spoken))
        (development, spoken), (train, _) = made
        return Corpus(train, development, development.select([])), spoken


def _typed(form: str, draw: np.random.Generator) -> str:
    small, bare = draw.random(2)
    if small < 0.2:
        form = form.lower()
    if bare < 0.2:
        form = re.sub(r"[,.](?=\s|$)", "", form)
    return form

"""Dates in many languages: their forms, and that a model learns to read them."""

import datetime
import re

import pytest

from saiki.data.text.dates import forms
from saiki.errors import InputError
from saiki.experiments.date import Date
from saiki.runs.folder import RunFolder
from saiki.runs.record import Options
from saiki.runs.reopen import reopen
from saiki.runs.run import run


@pytest.mark.parametrize(
    ("day", "language", "form"),
    [
        ("2024-03-05", "en_US", "Tuesday, March 5, 2024"),
        ("2024-03-05", "en_GB", "the 5th of March 2024"),
        ("2024-03-11", "en_GB", "March 11th, 2024"),
        ("2024-03-22", "en_GB", "March 22nd, 2024"),
        ("2024-03-05", "de", "5. März 2024"),
        ("2024-03-05", "fr", "mardi 5 mars 2024"),
        ("2024-03-05", "es", "5 de marzo de 2024"),
        ("2024-03-05", "ru", "5 марта 2024 г."),
        ("2024-03-05", "ja", "令和6年3月5日"),
        ("2019-05-01", "ja", "令和元年5月1日"),
        ("2019-04-30", "ja", "平成31年4月30日"),
        ("1989-01-07", "ja", "昭和64年1月7日"),
        ("1989-01-08", "ja", "平成元年1月8日"),
        ("2024-12-25", "zh", "二〇二四年十二月二十五日"),
        ("2010-10-30", "ja", "二〇一〇年十月三十日"),
        ("2024-03-05", "ko", "2024년 3월 5일"),
        ("2024-03-05", "sv", "2024-03-05"),
    ],
)
def test_a_day_has_these_forms(day, language, form):
    assert form in forms(datetime.date.fromisoformat(day), language)


def test_no_form_takes_the_day_for_the_month():
    for language in ("en_GB", "en_US", "es", "it", "pt", "fr", "nl", "ar"):
        for form in forms(datetime.date(2024, 3, 5), language):
            assert not re.search(r"\b0?[35]/0?[35]/", form), (language, form)


def test_the_days_judged_on_are_never_learned_from():
    knobs = {"languages": "en ja", "first_year": 2000, "last_year": 2009, "pairs": 2_000}
    data = Date(**knobs, seed=3).data
    corpus, spoken = data.corpus, data.languages_of_held
    assert len(corpus.train) == 2_000
    assert len(corpus.development) == len(spoken) == 100
    assert not set(corpus.train.target) & set(corpus.development.target)
    assert set(spoken) == {"en", "ja"}
    assert Date(**knobs, seed=3).data.corpus == corpus
    assert Date(**knobs, seed=4).data.corpus != corpus
    for iso in corpus.train.target:
        assert 2000 <= datetime.date.fromisoformat(iso).year <= 2009


def test_wrong_settings_are_refused():
    with pytest.raises(InputError, match="'klingon' is no language"):
        _ = Date(languages="en klingon").data.corpus
    with pytest.raises(InputError, match="must not come before the first, 2010, got 2000"):
        _ = Date(first_year=2010, last_year=2000).data.corpus
    with pytest.raises(InputError, match="languages must hold one code"):
        Date(languages=" ")


@pytest.mark.long
def test_it_learns_to_read_dates(tmp_path):
    experiment = Date(
        languages="en_US de", first_year=2000, last_year=2009, pairs=3_000, epochs=6.0,
        hidden_size=64, embedding_size=32, learning_rate=0.01, updates=0, device="cpu",
    )  # fmt: skip
    outcome = run(experiment, RunFolder.create("date", tmp_path / "run"), None, Options())
    assert outcome.figures["exact_match"] > 0.8
    assert {"exact_match_en_US", "exact_match_de"} <= set(outcome.figures)
    reopened, model = reopen(tmp_path / "run")
    answer = reopened.predict(model, "März")
    assert re.fullmatch(r"[\d-]*", answer.output)


def test_a_text_longer_than_is_read_is_refused_and_the_others_are_answered():
    made = Date(pairs=64, languages="en", hidden_size=4, embedding_size=4, most_tokens=20)
    model = made.model().eval()
    good, long = made.predict_all(model, ["March 5, 2000", "March 5, 2000 " * 2])
    assert good.input == "March 5, 2000"
    assert isinstance(long, InputError)
    assert "28 tokens is longer than the 20 that are read" in str(long)
    assert "--most-tokens" in str(long)
    long = made.changed({"most_tokens": 28}).predict(model, "March 5, 2000 " * 2)
    assert isinstance(long.output, str)

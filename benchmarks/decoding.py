"""Sentences of the development set of a run of translate: all of them together, and one by one."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

from saiki.bench.harness import Row, interleaved, row
from saiki.decoding.decode import Search
from saiki.errors import InputError
from saiki.experiments.translate import Translate
from saiki.models.translator import Translator
from saiki.runs.reopen import reopen

SENTENCES = 500


def rows(run: Path, repeats: int = 3) -> Iterator[Row]:
    """Both ways of decoding with each method.

    Raises:
        InputError: the run is not of the exercise.
    """
    experiment, model = reopen(run)
    if not isinstance(experiment, Translate):
        raise InputError(f"{run} is a run of {experiment.name}; give one of translate")
    translator = cast(Translator, model)
    texts = experiment.data.corpus.development.source[:SENTENCES]
    for search in (Search("greedy"), Search("beam", beam=5)):
        name = search.method if search.method == "greedy" else f"beam {search.beam}"

        def together(search: Search = search) -> None:
            translator.translate(texts, search)

        def alone(search: Search = search) -> None:
            for text in texts:
                translator.translate([text], search)

        timings = interleaved({"together": together, "one by one": alone}, repeats)
        size = (experiment.recurrent.hidden_size,)
        report = row(f"{name}, {len(texts)} sentences", size, timings, "together")
        report["sentences a second"] = {
            n: round(len(texts) / t.median, 1) for n, t in timings.items()
        }
        yield report

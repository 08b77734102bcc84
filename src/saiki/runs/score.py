"""How well the model of a run does on data of a user's own."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from saiki.capabilities import Scores
from saiki.experiment import Figures
from saiki.knobs import Value
from saiki.runs.reopen import AS_TRAINED, in_use


def score(
    run: Path, paths: Iterable[Path], knobs: Mapping[str, Value] = AS_TRAINED
) -> Iterator[Figures]:
    """The final figures of a run on each file or folder, in place of those of its own test data.

    Args:
        run: its folder.
        knobs: of :attr:`Experiment.predict_knobs`, where they are to differ from the run's.

    Raises:
        InputError: there is no such run or knob; its exercise does not do that; or, when it comes
            to that, a file cannot be read.
    """
    experiment, model = in_use(run, knobs)
    judge = Scores.of(experiment)
    return (judge.score_file(model, path) for path in paths)

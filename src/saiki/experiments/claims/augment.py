"""What is said of augmentation, and what decides it."""

import math
import statistics
from collections.abc import Mapping, Sequence

from saiki.data.images.augmentation import Augmentation, Mixing
from saiki.experiment import Claim, Trial
from saiki.knobs import Value

SCORE = "accuracy"
EXAMPLES = (500, 2000, 10_000)
"""To learn from."""
ALONE = 500
"""Examples, where each technique is judged by itself."""
POLICY: Mapping[str, Value] = {"flip_horizontal": 0.5, "shift": 0.05, "cutmix": 1.0}
TECHNIQUES: Mapping[str, Mapping[str, Value]] = {
    "horizontal flip": {"flip_horizontal": 0.5},
    "vertical flip": {"flip_vertical": 0.5},
    "quarter turns": {"quarter_turns": 3},
    "rotation by up to 15°": {"rotation": 15.0},
    "shift by up to 5 %": {"shift": 0.05},
    "crop of up to 20 %": {"crop": 0.2},
    "brightness ± 0.3": {"brightness": 0.3},
    "contrast 0.7 to 1.3": {"contrast_from": 0.7, "contrast_to": 1.3},
    "blur": {"blur": 0.03},
    "noise": {"noise": 0.1},
    "erasing of up to 20 %": {"erasing": 0.2},
    "mixup": {"mixup": 0.2},
    "CutMix": {"cutmix": 1.0},
}
"""Each by itself; hue and saturation are nothing to a grey image."""
OFF: Mapping[str, Value] = {**Augmentation().to_dict(), **Mixing().to_dict()}
"""Of all knobs that change an image."""


def lines(trials: Sequence[Trial]) -> dict[str, dict[float, list[float]]]:
    """The accuracies by the number of examples, without any change and with those of the policy."""
    found: dict[str, dict[float, list[float]]] = {}
    for label, wanted in (("as they are", {}), ("augmented", POLICY)):
        its = {
            float(examples): trial.values(SCORE)
            for trial in trials
            if _changes(trial) == wanted and isinstance(examples := trial.knobs["examples"], int)
        }
        if its:
            found[label] = dict(sorted(its.items()))
    return found if len(found) > 1 else {}


def gains(trials: Sequence[Trial]) -> dict[str, list[float]]:
    """What each technique by itself adds to the accuracy, seed by seed."""
    alone = {n: its for its in trials for n, how in TECHNIQUES.items() if _changes(its) == how}
    found = {}
    for name, trial in alone.items():
        same = [t for t in trials if not _changes(t) and _rest(t) == _rest(trial)]
        if same:
            found[name] = _differences(same[0], trial)
    return found


def _changes(trial: Trial) -> dict[str, Value]:
    """The knobs that change images."""
    return {n: trial.knobs[n] for n, off in OFF.items() if trial.knobs[n] != off}


def _rest(trial: Trial) -> dict[str, Value]:
    return {name: value for name, value in trial.knobs.items() if name not in OFF}


def _differences(without: Trial, with_: Trial) -> list[float]:
    """Seed by seed, which stands for the same examples and first weights."""
    pairs = zip(without.values(SCORE), with_.values(SCORE), strict=True)
    return [b - a for a, b in pairs]


def _judge(trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether the second is better by more than two standard errors of the mean difference."""
    without, with_ = trials
    gained = _differences(without, with_)
    mean = statistics.fmean(gained)
    error = statistics.stdev(gained) / math.sqrt(len(gained)) if len(gained) > 1 else math.inf
    verdict = "helps" if mean > 2 * error else "hurts" if mean < -2 * error else "cannot be told"
    said = ", ".join(
        f"{name} {statistics.fmean(v):.4f} ± {statistics.stdev(v) if len(v) > 1 else 0:.4f}"
        for name, v in (("without", without.values(SCORE)), ("with", with_.values(SCORE)))
    )
    return mean > 2 * error, f"{said}, gained {mean:+.4f} ± {error:.4f}: {verdict}"


CLAIMS = (
    *(
        Claim(
            f"Augmentation raises the accuracy of what learns from {examples:,} examples",
            "plain",
            ({"examples": examples}, {"examples": examples, **POLICY}),
            _judge,
        )
        for examples in EXAMPLES
    ),
    *(
        Claim(
            f"By itself, {name} raises the accuracy of what learns from {ALONE:,} examples",
            "plain",
            ({"examples": ALONE}, {"examples": ALONE, **how}),
            _judge,
        )
        for name, how in TECHNIQUES.items()
    ),
)

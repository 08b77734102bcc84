"""What is said of augmentation, and what decides it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from saiki.data.images.augmentation import Augmentation, Mixing
from saiki.experiment import Claim, Trial
from saiki.experiments.groups.comparison import compare, spread
from saiki.knobs import Value
from saiki.metrics.significance import holm

SCORE = "accuracy"
SHORT: Mapping[str, Value] = {"updates": 1000}
"""Of each run, so that the many there are take half an hour together."""
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
            found[name] = [*compare(same[0], trial, SCORE).values]
    return found


def _changes(trial: Trial) -> dict[str, Value]:
    """The knobs that change images."""
    return {n: trial.knobs[n] for n, off in OFF.items() if trial.knobs[n] != off}


def _rest(trial: Trial) -> dict[str, Value]:
    return {name: value for name, value in trial.knobs.items() if name not in OFF}


SETTINGS: tuple[Mapping[str, Value], ...] = (
    *({**SHORT, "examples": examples} for examples in EXAMPLES),
    *({**SHORT, "examples": examples, **POLICY} for examples in EXAMPLES),
    *({**SHORT, "examples": ALONE, **how} for how in TECHNIQUES.values()),
)
"""Those of all claims. Each claim asks for all of them: how sure one may be of a difference depends
on how many others were looked for."""
COMPARED = tuple(
    (SETTINGS.index({**SHORT, "examples": with_["examples"]}), len(EXAMPLES) + i)
    for i, with_ in enumerate(SETTINGS[len(EXAMPLES) :])
)
"""Of each claim the numbers of the settings without any change, and with it."""


def _judge(number: int, trials: Sequence[Trial]) -> tuple[bool, str]:
    """Whether the second of this pair is better, seed by seed, which stands for the same examples
    and first weights; see :func:`saiki.metrics.significance.holm`."""
    found = [compare(trials[a], trials[b], SCORE) for a, b in COMPARED]
    raised = holm([each.p for each in found])
    gained = replace(found[number], p=raised[number])
    verdict = "helps" if gained.is_more else "hurts" if gained.is_less else "cannot be told"
    without, with_ = (spread(trials[i].values(SCORE)) for i in COMPARED[number])
    return gained.is_more, (
        f"without {without}, with {with_}, gained {spread(gained.values, sign='+')}, p = "
        f"{found[number].p:.2g}, as one of {len(COMPARED)} comparisons {gained.p:.2g}: {verdict}"
    )


_STATEMENTS = (
    *(
        f"Augmentation raises the accuracy of what learns from {examples:,} examples"
        for examples in EXAMPLES
    ),
    *(
        f"By itself, {name} raises the accuracy of what learns from {ALONE:,} examples"
        for name in TECHNIQUES
    ),
)
CLAIMS = tuple(
    Claim(statement, "plain", SETTINGS, partial(_judge, number))
    for number, statement in enumerate(_STATEMENTS)
)

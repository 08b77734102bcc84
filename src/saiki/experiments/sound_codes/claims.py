"""What is said of sounds as codes, and what decides it."""

from collections.abc import Mapping, Sequence

from saiki.experiment import Claim, Trial
from saiki.experiments.groups.comparison import compare, in_every_seed, spread
from saiki.knobs import Value

SMALL: Mapping[str, Value] = {"prior": False, "epochs": 8.0}
"""Nothing is drawn, so that all claims are decided within half an hour."""
FEW: Mapping[str, Value] = {**SMALL, "frames_per_code": 8}
LARGE: Mapping[str, Value] = {**SMALL, "codes": 4096}
RESIDUAL: Mapping[str, Value] = {**SMALL, "stages": 2, "codes": 64}
USED = 0.9
HEARD = "judge_accuracy_reconstructions"


def _shown(trials: Sequence[Trial], *figures: str) -> str:
    """The figures of each trial, with their spread over the seeds."""
    return "; ".join(
        f"{trial.mean('bits_per_second'):.0f} bits a second in {trial.knobs['stages']} × "
        f"{trial.knobs['codes']} codes: "
        f"{', '.join(f'{name} {spread(trial.values(name))}' for name in figures)}"
        for trial in trials
    )


def _easier_to_recognise(trials: Sequence[Trial]) -> tuple[bool, str]:
    few, more = trials
    easier = compare(few, more, HEARD)
    shown = _shown(trials, "codes_per_second", HEARD, "judge_accuracy")
    return easier.is_more, f"{shown}; easier by {easier}"


def _nearer(trials: Sequence[Trial]) -> tuple[bool, str]:
    one, residual = trials
    farther = compare(one, residual, "reconstruction_error")
    shown = _shown(trials, "reconstruction_error", HEARD)
    return farther.is_less, f"{shown}; farther by {farther}"


def _in_use(trials: Sequence[Trial]) -> tuple[bool, str]:
    used = in_every_seed(trials, "codebook_usage", lambda usage: usage >= USED)
    return used, _shown(trials, "codebook_usage", "codebook_perplexity")


CLAIMS = (
    Claim(
        "A classifier knows more of the sounds that come back from four times as many codes a "
        "second",
        "small",
        (FEW, SMALL),
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
        (FEW, SMALL, RESIDUAL),
        _in_use,
    ),
)

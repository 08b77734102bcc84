"""What is said of images as codes, and what decides it."""

from collections.abc import Mapping, Sequence

from saiki.experiment import Claim, Trial
from saiki.experiments.groups.comparison import compare, in_every_seed, spread
from saiki.knobs import Value

SMALL: Mapping[str, Value] = {"examples": 10_000, "epochs": 6.0, "judge": 200}
"""Fewer images and a smaller judge, so that all claims are decided within an hour."""
VAE: Mapping[str, Value] = {**SMALL, "quantiser": "gaussian"}
WIDTHS = (16, 32, 64)
USED = 0.9
ALLOWED = 0.01
"""Of the accuracy of a probe, by which it may fall short."""


def _of(trial: Trial) -> str:
    name = "VAE" if trial.knobs.get("quantiser") == "gaussian" else "VQ-VAE"
    return f"{name} of width {trial.knobs['width']}"


def _shown(trials: Sequence[Trial], *figures: str) -> str:
    """The figures of each trial, with their spread over the seeds."""
    return "; ".join(
        f"{_of(trial)}: {', '.join(f'{name} {spread(trial.values(name))}' for name in figures)}"
        for trial in trials
    )


def _sharper(trials: Sequence[Trial]) -> tuple[bool, str]:
    codes, gaussian = trials
    sharper = compare(gaussian, codes, "sharpness")
    nearer = compare(gaussian, codes, "frechet_reconstructions")
    names = ("sharpness", "frechet_reconstructions", "frechet_samples")
    said = f"sharper by {sharper}, farther by {nearer}"
    return sharper.is_more and nearer.is_less, f"{_shown(trials, *names)}; {said}"


def _carries_the_class(trials: Sequence[Trial]) -> tuple[bool, str]:
    codes, gaussian = trials
    above = compare(gaussian, codes, "probe_accuracy", ALLOWED)
    return above.is_more, f"{_shown(trials, 'probe_accuracy')}; above what is asked by {above}"


def _stays_in_use(trials: Sequence[Trial]) -> tuple[bool, str]:
    codes, gaussian = trials[: len(WIDTHS)], trials[len(WIDTHS) :]
    in_use = in_every_seed(codes, "codebook_usage", lambda usage: usage >= USED)
    collapsed = in_every_seed(gaussian, "active_share", lambda share: share < USED)
    shown = (_shown(codes, "codebook_usage"), _shown(gaussian, "active_share", "kl"))
    return in_use and collapsed, "; ".join(shown)


CLAIMS = (
    Claim(
        "Images come back from codes with sharper contours than from the latent vectors of a VAE "
        "of equal size, and nearer to what they were in the eyes of a classifier",
        "good",
        (SMALL, VAE),
        _sharper,
    ),
    Claim(
        "A linear layer reads the class out of codes as well as out of the latent vectors of a VAE "
        "of equal size, to 1 %",
        "good",
        (SMALL, VAE),
        _carries_the_class,
    ),
    Claim(
        "Whether encoder and decoder have 16, 32 or 64 channels, 90 % of the codes are used, where "
        "a VAE of equal size leaves more than a tenth of its latent features to the prior",
        "good",
        tuple({**kind, "width": width} for kind in (SMALL, VAE) for width in WIDTHS),
        _stays_in_use,
    ),
    Claim(
        "At least 90 % of 512 codes are used on held-out images",
        "good",
        (SMALL,),
        lambda trials: (
            in_every_seed(trials, "codebook_usage", lambda usage: usage >= USED),
            _shown(trials, "codebook_usage", "codebook_perplexity"),
        ),
    ),
)

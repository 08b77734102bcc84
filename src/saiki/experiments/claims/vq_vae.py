"""What is said of images as codes, and what decides it."""

from collections.abc import Sequence

from saiki.experiment import Claim, Trial
from saiki.knobs import Value

VAE: dict[str, Value] = {"quantiser": "gaussian"}
WIDTHS: tuple[dict[str, Value], ...] = ({"width": 16}, {}, {"width": 128})
USED = 0.9


def _of(trial: Trial) -> str:
    return "VAE" if trial.knobs.get("quantiser") == "gaussian" else "VQ-VAE"


def _shown(trials: Sequence[Trial], *figures: str) -> str:
    lines = (
        f"{_of(trial)}: {', '.join(f'{name} {trial.mean(name):.4g}' for name in figures)}"
        for trial in trials
    )
    return "; ".join(lines)


def _sharper(trials: Sequence[Trial]) -> tuple[bool, str]:
    codes, gaussian = trials
    sharper = codes.mean("sharpness") > gaussian.mean("sharpness")
    nearer = codes.mean("frechet_reconstructions") < gaussian.mean("frechet_reconstructions")
    names = ("sharpness", "frechet_reconstructions", "frechet_samples")
    return sharper and nearer, _shown(trials, *names)


def _carries_the_class(trials: Sequence[Trial]) -> tuple[bool, str]:
    codes, gaussian = trials
    as_well = codes.mean("probe_accuracy") >= gaussian.mean("probe_accuracy") - 0.01
    return as_well, _shown(trials, "probe_accuracy")


def _stays_in_use(trials: Sequence[Trial]) -> tuple[bool, str]:
    codes, gaussian = trials[: len(WIDTHS)], trials[len(WIDTHS) :]
    in_use = min(trial.mean("codebook_usage") for trial in codes) >= USED
    collapsed = all(trial.mean("active_share") < USED for trial in gaussian)
    shown = (_shown(codes, "codebook_usage"), _shown(gaussian, "active_share", "kl"))
    return in_use and collapsed, f"{'; '.join(shown)}, of 16, 64 and 128 channels each"


CLAIMS = (
    Claim(
        "Images come back from codes with sharper contours than from the latent vectors of a VAE "
        "of equal size, and nearer to what they were in the eyes of a classifier",
        "good",
        ({}, VAE),
        _sharper,
    ),
    Claim(
        "A linear layer reads the class out of codes as well as out of the latent vectors of a VAE "
        "of equal size, to 1 %",
        "good",
        ({}, VAE),
        _carries_the_class,
    ),
    Claim(
        "However many channels encoder and decoder have, 90 % of the codes are used, where a VAE "
        "of equal size leaves more than a tenth of its latent features to the prior",
        "good",
        (*WIDTHS, *({**VAE, **width} for width in WIDTHS)),
        _stays_in_use,
    ),
    Claim(
        "At least 90 % of 512 codes are used on held-out images",
        "good",
        ({},),
        lambda trials: (
            trials[0].mean("codebook_usage") >= USED,
            _shown(trials, "codebook_usage", "codebook_perplexity"),
        ),
    ),
)

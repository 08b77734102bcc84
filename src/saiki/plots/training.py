"""What a training measured, one picture a figure."""

from pathlib import Path

from saiki.experiment import Points
from saiki.plots.curves import Kind, curves_of, draw_curves

FIGURES: dict[str, Kind] = {"loss": "magnitude", "accuracy": "share"}


def draw_training(folder: Path, points: Points, title: str = "") -> list[Path]:
    """Draw loss and accuracy, those of validation over those of training, and the norm of the
    gradient before and after it was clipped."""
    curves = {"loss": ([], []), **curves_of(points)}
    pictures = []
    for name, kind in FIGURES.items():
        if name not in curves:
            continue
        if validation := curves.get(f"validation_{name}"):
            lines = {"training": [curves[name]], "validation": [validation]}
        else:
            lines = {"": [curves[name]]}
        label = "training loss" if name == "loss" and not validation else name
        path = folder / f"{name}.png"
        pictures.append(draw_curves(path, lines, ylabel=label, kind=kind, title=title))
    if {"gradient_norm", "clipped_norm"} <= set(curves):
        lines = {
            "before clipping": [curves["gradient_norm"]],
            "after clipping": [curves["clipped_norm"]],
        }
        path = folder / "gradient_norm.png"
        pictures.append(
            draw_curves(path, lines, ylabel="gradient norm", kind="magnitude", title=title)
        )
    return pictures

"""Proofreading: a recurrent network finds the typing mistakes of a text, and mends them."""

import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from torch.nn import functional as F

from saiki.capabilities import Annotates, Describes, Draws, Monitors, Samples, Settles
from saiki.data.text import typos
from saiki.data.text.mistyped import IGNORED, Batch, Mistyped, MistypedText, plain
from saiki.data.text.plain_text import LINE
from saiki.data.text.typos import KINDS, Example, Mark, mended
from saiki.duration import Updates
from saiki.errors import InputError
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, placed, untrained
from saiki.experiments.groups.layers import TokenLayers
from saiki.files import to_json
from saiki.knobs import Value, knob
from saiki.metrics import corrections as metrics
from saiki.metrics.corrections import NONE, THRESHOLDS, lowest_threshold, quality, rates, scores
from saiki.models.tagger import Tagger
from saiki.optimisation import Optimisation
from saiki.plots.corrections import draw_marks, draw_trade_off
from saiki.plots.curves import curves_of, draw_curves
from saiki.prediction import Prediction, PredictsTogether
from saiki.text import Vocabulary

EVALUATED, SHOWN = 64, 6
"""Rows of a batch where nothing is learned, and sentences that are shown."""
OFF = "it is switched off, as it spoils clean sentences; --threshold 0.9 uses it all the same"


def _directions(trials: Sequence[Trial]) -> str:
    one, two = (t.mean("f1") for t in trials)
    return f"F1 {one:.3f} in one direction, {two:.3f} in both"


SMALL: dict[str, Value] = {
    "iterations": 1200,
    "layers": 1,
    "learning_rate": 0.006,
    "log_every": 200,
}
"""What teaches something within an hour."""

CLAIMS = (
    Claim(
        "With the same units and updates, reading in both directions finds more mistakes than "
        "reading in one",
        "small",
        ({"bidirectional": False}, {"bidirectional": True}),
        lambda trials: (
            max(trials[0].values("f1")) < min(trials[1].values("f1")),
            _directions(trials),
        ),
    ),
)


class Proofread(
    Annotates, Describes, Draws, Monitors, PredictsTogether, Samples, Settles,
    Experiment[Tagger, Batch],
):  # fmt: skip
    """A text is read character by character. For each the network says whether a mistake shows
    there, swapped neighbours, a character dropped before it, or one doubled, and which character
    was dropped. The mistakes it learns from are made at random, anew at each step.
    """

    source: MistypedText = MistypedText()
    touched: float = knob(0.02, "clean sentences that may be changed", minimum=0, maximum=1)
    threshold: float = knob(
        0.0, "probability of a mistake that is marked; 0: as touched has it", minimum=0, maximum=1
    )
    recurrent: TokenLayers = TokenLayers(cell="gru", hidden_size=256, layers=2, embedding_size=64)
    duration: Updates = Updates(iterations=6000, log_every=600)
    optimisation: Optimisation = Optimisation(
        batch_size=16, learning_rate=0.003, schedule="cosine", warmup=0.03, clip_norm=1.0
    )

    name = "proofread"
    summary = "find and mend the typing mistakes of a text, character by character"
    minutes = 28
    score = "f1"
    selected_by = "validation_loss"
    shown = ("loss", "validation_loss", "validation_f1")
    predict_knobs = ("threshold",)
    takes = LINE
    presets: ClassVar[dict[str, dict[str, Value]]] = {
        "good": {},
        "small": SMALL,
        "quick": SMALL | {"iterations": 600, "log_every": 200},
    }
    claims = CLAIMS

    @cached_property
    def data(self) -> Mistyped:
        return Mistyped(self.optimisation.batching, self.source)

    def model(self) -> Tagger:
        return self.network(self.data.characters)

    def network(self, characters: Vocabulary) -> Tagger:
        """A new model that knows these characters."""
        encoder = self.recurrent.build_encoder(len(characters))
        return Tagger(encoder, characters, (NONE, *KINDS))

    def measure(self, model: Tagger, batch: Batch) -> Measures:
        tokens, lengths, kinds, missing = batch
        u, v = model(tokens, lengths)
        errors = [
            F.cross_entropy(x.transpose(1, 2), target, ignore_index=IGNORED, reduction="none")
            for x, target in ((u, kinds), (v, missing))
        ]
        of_row = (errors[0] + errors[1]).sum(1)
        return {"loss": (of_row / lengths).mean()}

    def monitor(self, model: Tagger) -> dict[str, float]:
        held = sorted(self.data.validation, key=lambda example: len(example.text))
        total = 0.0
        for at in range(0, len(held), EVALUATED):
            rows = held[at : at + EVALUATED]
            batch = placed(self.data.encode(rows), model)
            total += len(rows) * self.measure(model, batch)["loss"].item()
        marks = self.marks(model, [example.text for example in held])
        return {
            "validation_loss": total / len(held),
            "validation_f1": scores(held, marks)["f1"],
            "validation_false_alarms": self.false_alarms(model, held),
        }

    def false_alarms(self, model: Tagger, examples: Sequence[Example]) -> float:
        """Marks in 1000 characters of the clean texts."""
        marks = self.marks(model, [example.clean for example in examples])
        return 1000 * sum(map(len, marks)) / sum(len(example.clean) for example in examples)

    def trade_offs(self, model: Tagger) -> dict[str, list[tuple[float, float]]]:
        """What each threshold spoils and mends, in sentences to validate and, if there are any, in
        those of another kind of text; see :func:`rates`."""
        kinds = {
            "text of this kind": self.data.validation,
            "of another": self.data.other_validation,
        }
        marks = {
            name: self.both(model, examples, THRESHOLDS[0])
            for name, examples in kinds.items()
            if examples
        }
        return {
            name: [rates(kinds[name], *both, least) for least in THRESHOLDS]
            for name, both in marks.items()
        }

    def both(
        self, model: Tagger, examples: Sequence[Example], least: float | None = None
    ) -> tuple[list[list[Mark]], list[list[Mark]]]:
        """The marks in clean texts, and in the same with mistakes."""
        clean, typed = [e.clean for e in examples], [e.text for e in examples]
        return self.marks(model, clean, least), self.marks(model, typed, least)

    def settle(self, model: Tagger) -> None:
        """Set the lowest threshold that harms no kind of text; infinity if each does."""
        kinds = list(self.trade_offs(model).values())
        model.threshold.fill_(lowest_threshold(kinds, self.touched))

    def evaluate(self, model: Tagger) -> Figures:
        test, least = self.data.test, self.least(model)
        figures: Figures = {
            **quality(test, self.marks(model, [example.text for example in test])),
            "false_alarms": self.false_alarms(model, test),
            "threshold": least if math.isfinite(least) else None,
        }
        for kind, examples in (("", test), ("other_", self.data.other_test)):
            if examples:
                shares = rates(examples, *self.both(model, examples))
                figures[f"{kind}clean_touched"], figures[f"{kind}typed_right"] = shares
        return figures

    def least(self, model: Tagger) -> float:
        """The probability from which on a mistake is marked."""
        return self.threshold or round(model.threshold.item(), 6)

    def marks(
        self, model: Tagger, texts: Sequence[str], least: float | None = None
    ) -> list[list[Mark]]:
        """The mistakes that the model marks in each text, if they are ``least`` probable."""
        least = self.least(model) if least is None else least
        readings = model.read([plain(text) for text in texts])
        return [
            typos.marked(text, reading.kinds, reading.missing, least)
            for text, reading in zip(texts, readings, strict=True)
        ]

    def predict_together(
        self, model: Tagger, texts: Sequence[str]
    ) -> list[Prediction | InputError]:
        lines = [line for text in texts for _, line in typos.lines_of(text)]
        marks = iter(self.marks(model, lines))
        remark = OFF if math.isinf(self.least(model)) else ""
        return [typos.prediction_of(text, marks, remark) for text in texts]

    def sample(self, model: Tagger) -> str:
        text = self.data.input_example()
        return f"{text} → {mended(text, self.marks(model, [text])[0])}"

    def describe_model(self, model: Tagger) -> str:
        shown = [example for example in self.data.test if example.mistakes][:SHOWN]
        marks = self.marks(model, [example.text for example in shown])
        lines = [f"  {OFF}"] if math.isinf(self.least(model)) else []
        for example, mistakes in zip(shown, marks, strict=True):
            got = mended(example.text, mistakes)
            lines += [f"  {example.text}", f"    mended: {got}"]
            lines += [f"    wanted: {example.clean}"] if got != example.clean else []
        return "\n".join(lines)

    def draw(self, model: Tagger, points: Points, folder: Path) -> list[Path]:
        test = self.data.test
        marks = self.marks(model, [example.text for example in test])
        values = scores(test, marks)
        each = {kind: values[f"f1_{kind}"] for kind in KINDS} | {"all": values["f1"]}
        f1 = curves_of(points).get("validation_f1", ([], []))
        kinds, least = self.trade_offs(model), self.least(model)
        wrong, axis, title = metrics.taken_for(test, marks), "F1, validation", self.title
        place = THRESHOLDS.index(least) if least in THRESHOLDS else None
        return [
            draw_trade_off(folder / "trade_off.png", kinds, place, f"threshold {least:g}"),
            draw_marks(folder / "kinds.png", wrong, (NONE, *KINDS), each, title),
            draw_curves(folder / "f1.png", {"": [f1]}, ylabel=axis, kind="share", title=title),
        ]

    def metadata(self, model: Tagger) -> dict[str, str]:
        about = {"characters": to_json(model.characters.words), "kinds": to_json(model.kinds)}
        return {**about, "threshold": str(self.least(model))}

    def equations(self) -> str:
        model = untrained(lambda: self.network(Vocabulary([]))).equations()
        loss = "E = −1/T Σₜ (ln p(kindᵗ) + [kindᵗ = dropped] ln p(missingᵗ))"
        return f"xᵗ = E[character t]\n{model}\n{loss}"

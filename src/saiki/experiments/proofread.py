"""Proofreading: a recurrent network finds the typing mistakes of a text, and mends them."""

import itertools
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from saiki import processes
from saiki.cells import NAMED
from saiki.data import store
from saiki.data.marks import END, Example, Mark, change, mended, scores
from saiki.data.prose import Prose, plain, prose
from saiki.data.typos import KINDS, Mistake, edit_distance, mistype, possible
from saiki.errors import InputError
from saiki.experiment import Claim, Experiment, Figures, Measures, Points, Trial, only, placed
from saiki.knobs import Value, knob, other
from saiki.models.encoder import Encoder
from saiki.models.tagger import Tagger, padded, tokens_of
from saiki.plots import canvas
from saiki.plots.curves import curves_of, draw_curves
from saiki.recurrent import Bidirectional, Layer, Recurrent, Stack
from saiki.text import SPECIAL, Vocabulary

NONE = "none"
RARE = 1e-5
"""Share of the text below which a character is not known."""
IGNORED = -100
"""The target where there is nothing to say."""
HELD_RATE = 0.03
"""Mistakes for each character that validates or is tested, on average."""
EVALUATED, SHOWN = 64, 6
"""Rows of a batch where nothing is learned, and sentences that are shown."""
LEARNED, VALIDATED, TESTED = range(3)
"""What a stream of random numbers is for."""
SHOWN_CHANGE = "  {was} → {is}   {kind}, {probability:.1%}"
LINE = re.compile(r"\S.*\S|\S")
"""What is read of a line: neither its ends nor how far it is moved in."""
Batch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Characters ``(batch, time)``, the length of each row, the numbers of the kinds, and of the
missing characters where one is dropped."""


@dataclass(frozen=True)
class Proofread(Experiment[Tagger, Batch]):
    """A text is read character by character. For each the network says whether a mistake shows
    there, swapped neighbours, a character dropped before it, or one doubled, and which character
    was dropped. The mistakes it learns from are made at random, anew at each step.
    """

    data: str = knob("", "text file, or folder of .txt files; 100 English novels without")
    iterations: int = knob(6000, "updates of the weights", minimum=1)
    length: int = knob(160, "characters of a passage, at most", minimum=10, maximum=10_000)
    rate: float = knob(
        0.06, "mistakes for each character that is learned from", minimum=0.001, maximum=0.25
    )
    threshold: float = knob(
        0.7, "probability from which on a mistake is marked", minimum=0, maximum=1
    )
    cell: str = knob("gru", "of all layers", choices=tuple(NAMED))
    bidirectional: bool = knob(True, "read forwards and backwards, with half of the units each")
    hidden_size: int = knob(256, "units of a layer", minimum=2, maximum=8192)
    layers: int = knob(2, "recurrent layers", minimum=1, maximum=16)
    embedding_size: int = knob(64, "features of a character", minimum=1, maximum=4096)
    dropout: float = knob(0.0, "share of features set to 0 between layers", minimum=0, maximum=0.9)

    batch_size: int = other(Experiment, "batch_size", 16)
    learning_rate: float = other(Experiment, "learning_rate", 0.003)
    schedule: str = other(Experiment, "schedule", "cosine")
    warmup: float = other(Experiment, "warmup", 0.03)
    clip_norm: float = other(Experiment, "clip_norm", 1.0)
    log_every: int = other(Experiment, "log_every", 600)

    name = "proofread"
    summary = "find and mend the typing mistakes of a text, character by character"
    score = "f1"
    judged_by = "validation_loss"
    shown = ("loss", "validation_loss", "validation_f1")
    ahead = 2
    at_use = ("threshold",)
    at_once = 64
    by_line = True
    presets: ClassVar[dict[str, dict[str, Value]]] = {
        "good": {},
        "quick": {"iterations": 1200, "layers": 1, "learning_rate": 0.006, "log_every": 200},
    }
    claims: ClassVar[tuple[Claim, ...]] = (
        Claim(
            "With the same units and updates, reading in both directions finds more mistakes than "
            "reading in one",
            "quick",
            ({"bidirectional": False}, {"bidirectional": True}),
            lambda trials: (
                max(trials[0].values("f1")) < min(trials[1].values("f1")),
                _directions(trials),
            ),
        ),
    )

    def validate(self) -> None:
        self.keep_paths("data")
        if self.bidirectional and self.hidden_size % 2:
            raise InputError(
                f"hidden_size must be even, half for each direction, got {self.hidden_size}"
            )

    # Data.

    @cached_property
    def prose(self) -> Prose:
        return prose(store.locate("english_novels", Path(self.data) if self.data else None))

    @cached_property
    def characters(self) -> Vocabulary:
        text = self.prose.train
        return Vocabulary.count([text], minimum=max(1, round(RARE * len(text))))

    @cached_property
    def touched(self) -> frozenset[str]:
        """The characters with which mistakes are made; nobody could put digits right."""
        return frozenset(c for c in self.characters.words[len(SPECIAL) :] if not c.isdigit())

    def mistyped(self, clean: str, rate: float, random: np.random.Generator) -> Example:
        """A text with mistakes: from none to twice the rate, drawn for each text."""
        rate = random.uniform(0, 2 * rate)
        text, mistakes = mistype(clean + END, rate, self.touched, random)
        return Example(clean, text.removesuffix(END), mistakes)

    def passage(self, place: int) -> Example:
        """One of the endless row of passages to learn from."""
        random = np.random.default_rng((place, self.seed, LEARNED))
        start = random.integers(max(1, len(self.prose.train) - self.length))
        return self.mistyped(self.prose.passage(int(start), self.length), self.rate, random)

    @cached_property
    def validation(self) -> list[Example]:
        """The same mistakes for every seed, as those of the test."""
        return self._held(self.prose.validation, VALIDATED)

    @cached_property
    def test(self) -> list[Example]:
        return self._held(self.prose.test, TESTED)

    def _held(self, sentences: Sequence[str], kind: int) -> list[Example]:
        return [
            self.mistyped(clean, HELD_RATE, np.random.default_rng((place, 0, kind)))
            for place, clean in enumerate(sentences)
        ]

    def batches(self, start: int = 0) -> Iterator[Batch]:
        size = self.batch_size * processes.count()
        mine = processes.part(size)
        for number in itertools.count(start):
            places = range(number * size, (number + 1) * size)[mine]
            yield self.encode([self.passage(place) for place in places])

    def encode(self, examples: Sequence[Example]) -> Batch:
        """Texts, and what there is to say of them."""
        rows, kinds, missing = list[Tensor](), list[Tensor](), list[Tensor]()
        for example in examples:
            rows.append(tokens_of(example.text, self.characters))
            kinds.append(torch.zeros_like(rows[-1]))
            missing.append(torch.full_like(rows[-1], IGNORED))
            for place, kind, character in example.mistakes:
                kinds[-1][place] = 1 + KINDS.index(kind)
                if character:
                    missing[-1][place] = self.characters.ids(character)[0]
        return *padded(rows), padded(kinds, IGNORED)[0], padded(missing, IGNORED)[0]

    def example(self) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(0)
        return torch.randint(len(SPECIAL), (3, 30), generator=random), torch.tensor([17, 30, 9])

    # Model, loss and figures.

    def model(self) -> Tagger:
        cell, size = NAMED[self.cell], self.embedding_size
        stack = list[Layer]()
        for _ in range(self.layers):
            if self.bidirectional:
                stack.append(Bidirectional(cell(size, self.hidden_size // 2)))
            else:
                stack.append(Recurrent(cell(size, self.hidden_size)))
            size = self.hidden_size
        layers = Stack(stack, self.dropout)
        encoder = Encoder(len(self.characters), self.embedding_size, layers, self.dropout)
        return Tagger(encoder, self.characters, (NONE, *KINDS))

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
        held = sorted(self.validation, key=lambda example: len(example.text))
        total = 0.0
        for at in range(0, len(held), EVALUATED):
            rows = held[at : at + EVALUATED]
            batch = placed(self.encode(rows), model)
            total += len(rows) * self.measure(model, batch)["loss"].item()
        found = self.found(model, [example.text for example in held])
        return {
            "validation_loss": total / len(held),
            "validation_f1": scores(held, found)["f1"],
            "validation_false_alarms": self.false_alarms(model, held),
        }

    def false_alarms(self, model: Tagger, examples: Sequence[Example]) -> float:
        """Marks in 1000 characters of the clean texts."""
        found = self.found(model, [example.clean for example in examples])
        return 1000 * sum(map(len, found)) / sum(len(example.clean) for example in examples)

    def evaluate(self, model: Tagger) -> Figures:
        test = self.test
        found = self.found(model, [example.text for example in test])
        results = [mended(e.text, marks) for e, marks in zip(test, found, strict=True)]
        length = sum(len(example.clean) for example in test)
        errors = {
            "character_error_rate_before": [example.text for example in test],
            "character_error_rate_after": results,
        }
        rates = {
            name: sum(edit_distance(t, e.clean) for t, e in zip(texts, test, strict=True)) / length
            for name, texts in errors.items()
        }
        right = sum(m == e.clean for m, e in zip(results, test, strict=True))
        return {
            **scores(test, found),
            **rates,
            "texts_right": right / len(test),
            "false_alarms": self.false_alarms(model, test),
        }

    # Use.

    def found(self, model: Tagger, texts: Sequence[str]) -> list[list[Mark]]:
        """The mistakes that the model marks in each text."""
        readings = model.read([plain(text) for text in texts])
        marked = []
        for text, reading in zip(texts, readings, strict=True):
            p, kinds = reading.kinds[:, 1:].max(1)
            marks = []
            for place in (p >= self.threshold).nonzero().squeeze(1).tolist():
                kind = KINDS[int(kinds[place])]
                if possible(text, place, kind):
                    missing = reading.missing[place] if kind == "dropped" else ""
                    marks.append(Mark(Mistake(place, kind, missing), p[place].item()))
            marked.append(marks)
        return marked

    def predict(self, model: Tagger, text: str) -> dict[str, Any]:
        return only(self.predict_all(model, [text]))

    def predict_all(
        self, model: Tagger, texts: Sequence[str]
    ) -> Sequence[dict[str, Any] | InputError]:
        started = time.perf_counter()
        lines = [[(m.start(), m.group()) for m in LINE.finditer(text)] for text in texts]
        found = iter(self.found(model, [line for its in lines for _, line in its]))
        answers = []
        for text, its in zip(texts, lines, strict=True):
            marks, changes = list[Mark](), list[dict[str, Any]]()
            for start, line in its:
                for mark in next(found):
                    changes.append({"place": start + mark.mistake.place} | change(line, mark))
                    marks.append(mark.moved(start))
            output = mended(text, marks)
            told = [output, *(SHOWN_CHANGE.format(**each) for each in changes)]
            answers.append(
                {"input": text, "output": output, "changes": changes, "text": "\n".join(told)}
            )
        seconds = (time.perf_counter() - started) / max(1, len(texts))
        return [answer | {"seconds": seconds} for answer in answers]

    def sample(self, model: Tagger) -> str:
        text = min(self.validation, key=lambda e: (not e.mistakes, len(e.text))).text
        return f"{text} → {mended(text, self.found(model, [text])[0])}"

    # Pictures and words.

    def opening(self) -> str:
        parts = self.prose
        return (
            f"{len(parts.train):,} characters to learn from, {len(self.characters) - len(SPECIAL)} "
            f"different ones known; {len(parts.validation):,} sentences to validate, "
            f"{len(parts.test):,} to test"
        )

    def remarks(self, model: Tagger) -> str:
        shown = [example for example in self.test if example.mistakes][:SHOWN]
        found = self.found(model, [example.text for example in shown])
        lines = []
        for example, marks in zip(shown, found, strict=True):
            got = mended(example.text, marks)
            lines += [f"  {example.text}", f"    mended: {got}"]
            lines += [f"    wanted: {example.clean}"] if got != example.clean else []
        return "\n".join(lines)

    def draw(self, model: Tagger, points: Points, folder: Path) -> list[Path]:
        found = self.found(model, [example.text for example in self.test])
        f1 = curves_of(points).get("validation_f1", ([], []))
        return [
            _kinds(folder / "kinds.png", self.test, found),
            draw_curves(folder / "f1.png", {"": [f1]}, ylabel="F1, validation"),
        ]

    def equations(self) -> str:
        cell = self.cell.upper() if self.cell != "peephole" else "LSTM with peepholes"
        if self.bidirectional:
            layer = f"y = (h→, h←), {cell} of {self.hidden_size // 2} units each way"
        else:
            layer = f"y = h→, {cell} of {self.hidden_size} units"
        again = f", {self.layers} layers" if self.layers > 1 else ""
        return "\n".join(
            (
                "xᵗ = E[character t]",
                layer + " over x" + again,
                f"p(kindᵗ) = softmax(W yᵗ + b), of {', '.join((NONE, *KINDS))}",
                "p(missingᵗ) = softmax(V yᵗ + c)",
                "E = −1/T Σₜ (ln p(kindᵗ) + [kindᵗ = dropped] ln p(missingᵗ))",
            )
        )


def _kinds(path: Path, examples: Sequence[Example], found: Sequence[Sequence[Mark]]) -> Path:
    """What each mistake was taken for, and F1 by kind."""
    names = (NONE, *KINDS)
    counts = np.zeros((len(names), len(names)), int)
    for example, marks in zip(examples, found, strict=True):
        was = {m.place: m.kind for m in example.mistakes}
        said = {m.mistake.place: m.mistake.kind for m in marks}
        for place in range(len(example.text) + 1):
            counts[names.index(was.get(place, NONE)), names.index(said.get(place, NONE))] += 1
    figure = canvas.new_figure(9.5, 4.2)
    left, right = figure.subplots(1, 2, width_ratios=[1, 1])
    left.imshow(counts / np.maximum(counts.sum(1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1)
    left.set_xticks(range(len(names)), names)
    left.set_yticks(range(len(names)), names)
    left.set(xlabel="marked", ylabel="made", title="places of the tested sentences")
    for (i, j), count in np.ndenumerate(counts):
        dark = count > 0.5 * counts[i].sum()
        left.text(j, i, f"{count:,}", ha="center", va="center", color="white" if dark else "black")
    values = scores(examples, found)
    bars = {kind: values[f"f1_{kind}"] for kind in KINDS} | {"all": values["f1"]}
    shown = right.bar(list(bars), list(bars.values()), width=0.6)
    right.bar_label(shown, [f"{value:.3f}" for value in bars.values()], padding=2)
    right.set(ylim=(0, 1.1), ylabel="F1", title="right place and right kind")
    return canvas.save(figure, path)


def _directions(trials: Sequence[Trial]) -> str:
    one, two = (t.mean("f1") for t in trials)
    return f"F1 {one:.3f} in one direction, {two:.3f} in both"

"""What models of dialogue reply: measured, drawn, and laid side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from saiki.data.text.dialogue_rows import DialogueRows
from saiki.data.text.dialogues import Dialogue
from saiki.errors import InputError
from saiki.experiment import Trial
from saiki.experiments.dialogue.model import ALONE, judge
from saiki.experiments.groups.markdown import table
from saiki.files import write_json, write_text
from saiki.inputs import read_json
from saiki.metrics.replies import distinct, mean_length, most_frequent, similarities
from saiki.models.dialogue import Dialoguer, Reply
from saiki.plots.spread import draw_spread
from saiki.prediction import Prediction
from saiki.text.vectors import Vectors

ANSWERED = 1000
"""Turns that are answered for the measures of replies."""
FILE, SHOWN, BEFORE = "replies.json", 10, 4
"""Of a run: what it replies to some contexts of the test, so many of so many turns."""


def some_of(part: Sequence[Dialogue]) -> tuple[list[Dialogue], list[str]]:
    """About ``ANSWERED`` contexts at even distances, and the true reply to each."""
    places = [(turns, n) for turns in part for n in range(1, len(turns))]
    some = places[:: max(1, len(places) // ANSWERED)]
    return [turns[:n] for turns, n in some], [turns[n] for turns, n in some]


def shown_of(test: Sequence[Dialogue]) -> list[Dialogue]:
    """The contexts, each with the true reply behind it."""
    every = max(1, len(test) // SHOWN)
    return [turns[: BEFORE + 1] for turns in test[::every][:SHOWN]]


def in_words(shown: Sequence[Dialogue], found: Sequence[Sequence[Reply]]) -> str:
    """What is replied to the last turn of each."""
    lines = list[str]()
    for turns, replies in zip(shown, found, strict=True):
        lines += [f"  {turns[-2]}", *(f"    {reply.text}" for reply in replies)]
    return "\n".join(lines)


def keep(path: Path, shown: Sequence[Dialogue], found: Sequence[Sequence[Reply]]) -> None:
    """Write it for :func:`side_by_side`."""
    each = [
        {"context": turns[:-1], "said": turns[-1], "replies": [reply.text for reply in replies]}
        for turns, replies in zip(shown, found, strict=True)
    ]
    write_json(path, {"contexts": each}, indent=1)


def prediction_of(turn: str, replies: Sequence[Reply]) -> Prediction:
    """Different replies to what was said last, the best first, by name and for people."""
    unlike: dict[str, Reply] = {}
    for reply in replies:
        unlike.setdefault(reply.text, reply)
    best, *others = unlike.values()
    several = [{"output": r.text, "log_probability": r.log_probability} for r in unlike.values()]
    lines = [f"{r.log_probability:8.2f}  {r.text}" for r in unlike.values()]
    return Prediction(
        input=turn,
        output=best.text,
        figures={"log_probability": best.log_probability},
        alternatives=several if others else None,
        text="\n".join(lines) if others else best.text,
    )


def alignments(
    found: Sequence[Sequence[Reply]],
) -> list[tuple[tuple[str, ...], tuple[str, ...], Tensor]]:
    """What the best reply to each dialogue looked at.

    Raises:
        InputError: there is no attention.
    """
    maps = [seen for replies in found if (seen := replies[0].alignment) is not None]
    if not maps:
        raise InputError("a model without attention has none to draw")
    return maps


def manner_of(
    replies: Sequence[Sequence[str]], true: Sequence[Sequence[str]], vectors: Vectors | None
) -> dict[str, float]:
    """What replies are like, and how near to what was said in truth by these vectors of words."""
    figures = {
        "distinct_1": distinct(replies, 1),
        "distinct_2": distinct(replies, 2),
        "mean_length": mean_length(replies),
        "most_frequent": most_frequent(replies)[1],
    }
    if vectors is not None:
        words = {word for its in (*replies, *true) for word in its if word in vectors}
        near = similarities(replies, true, {word: vectors[word] for word in words})
        figures |= {f"embedding_{name}": value for name, value in near.items()}
    return figures


def by_turn(
    model: Dialoguer, part: Sequence[Dialogue], longest: int, path: Path, title: str
) -> Path:
    """Draw the perplexity of replies by how many turns stand before them, where the model knows
    all of these turns, and where it knows the last one alone."""
    known = {"all turns before": (), "the last turn alone": (1, 1)}
    lines = {}
    for label, cut in known.items():
        found = judge(model, DialogueRows.of(part, model.text, longest, *cut), 1)
        each = {float(n): found.perplexity(n, n) for n in ALONE}
        lines[label] = {n: [value] for n, value in each.items() if value is not None}
    axes = {"xlabel": "turns before", "ylabel": "perplexity of a token"}
    return draw_spread(path, lines, {}, **axes, gained="", title=title)


def compared(trials: Mapping[str, Trial], path: Path) -> Path:
    """Draw the perplexity of replies by how many turns stand before them for several settings, and
    what each of those that follow the dialogue gains on the one that does not."""
    lines = {
        label: {
            float(n): trial.values(name)
            for n in ALONE
            if trial.results[0].get(name := f"perplexity_at_{n}") is not None
        }
        for label, trial in trials.items()
    }
    models = {label: trial.knobs["model"] for label, trial in trials.items()}
    plain = next((lines[label] for label, model in models.items() if model == "seq2seq"), {})
    gains = {
        f"{label}, {number:.0f} before" if len(lines) > 2 else f"{number:.0f} turns before": [
            100 * (1 - with_ / without)
            for with_, without in zip(values, plain[number], strict=True)
        ]
        for label, its in lines.items()
        if models[label] == "hred"
        for number, values in its.items()
        if len(plain.get(number, ())) == len(values)
    }
    axes = {"xlabel": "turns before", "ylabel": "perplexity of a token"}
    title = "dialogue: what the turns before the last one are worth"
    return draw_spread(path, lines, gains, **axes, gained="lower perplexity, %", title=title)


def side_by_side(trials: Mapping[str, Trial], path: Path) -> Path | None:
    """A table of what the first runs of several settings reply to the same contexts, in Markdown;
    nothing where they have none in common."""
    kept = {label: its.folders[0] / "replies.json" for label, its in trials.items() if its.folders}
    found = {
        label: {tuple(each["context"]): each for each in read_json(file)["contexts"]}
        for label, file in kept.items()
        if file.exists()
    }
    common = [context for context in next(iter(found.values()), ()) if all(
        context in its for its in found.values()
    )]  # fmt: skip
    if len(found) < 2 or not common:
        return None
    rows = list[list[str]]()
    for context in common:
        truth = next(iter(found.values()))[context]["said"]
        said = ["<br>".join(its[context]["replies"]) for its in found.values()]
        rows.append(["<br>".join(f"– {turn}" for turn in context), truth, *said])
    write_text(path, table(["context", "in truth", *found], rows))
    return path

"""What models of dialogue reply: measured, drawn, and laid side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from saiki.data.text.dialogue_rows import DialogueRows
from saiki.data.text.dialogues import Dialogue
from saiki.experiment import Trial
from saiki.experiments.dialogue.model import ALONE, judge
from saiki.experiments.groups.markdown import table
from saiki.files import write_json, write_text
from saiki.inputs import read_json
from saiki.metrics.replies import distinct, mean_length, most_frequent, similarities
from saiki.models.dialogue import Dialoguer
from saiki.models.seq2seq import WrittenText
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


def write(path: Path, written: Sequence[tuple[Dialogue, Sequence[WrittenText]]]) -> None:
    """Write the replies to contexts, each with its true reply, for :func:`side_by_side`."""
    each = [
        {"context": turns[:-1], "said": turns[-1], "replies": [reply.text for reply in replies]}
        for turns, replies in written
    ]
    write_json(path, {"contexts": each}, indent=1)


def prediction_of(turn: str, replies: Sequence[WrittenText]) -> Prediction:
    """Different replies to what was said last, the best first, by name and for people."""
    unlike: dict[str, WrittenText] = {}
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
        words = {word for reply in (*replies, *true) for word in reply if word in vectors}
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
        judgement = judge(model, DialogueRows.of(part, model.text, longest, *cut), 1)
        each = {float(n): judgement.perplexity(n, n) for n in ALONE}
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
        for label, perplexities in lines.items()
        if models[label] == "hred"
        for number, values in perplexities.items()
        if len(plain.get(number, ())) == len(values)
    }
    axes = {"xlabel": "turns before", "ylabel": "perplexity of a token"}
    title = "dialogue: what the turns before the last one are worth"
    return draw_spread(path, lines, gains, **axes, gained="lower perplexity, %", title=title)


def side_by_side(trials: Mapping[str, Trial], path: Path) -> Path | None:
    """A table of what the first runs of several settings reply to the same contexts, in Markdown;
    nothing where they have none in common."""
    contexts = {
        label: {tuple(each["context"]): each for each in read_json(file)["contexts"]}
        for label, trial in trials.items()
        if trial.folders and (file := trial.folders[0] / FILE).exists()
    }
    first = next(iter(contexts.values()), {})
    common = [context for context in first if all(context in each for each in contexts.values())]
    if len(contexts) < 2 or not common:
        return None
    rows = list[list[str]]()
    for context in common:
        answers = ["<br>".join(of_run[context]["replies"]) for of_run in contexts.values()]
        turns = "<br>".join(f"– {turn}" for turn in context)
        rows.append([turns, first[context]["said"], *answers])
    write_text(path, table(["context", "in truth", *contexts], rows))
    return path

"""Whether data are enough: to be learned from, and to be judged by."""

from typing import Any

from saiki.data.dataset import Dataset

LEARNED, JUDGED = 100, 30
"""Examples below which a person is told that they teach, or that they say, little."""


def too_few(data: Dataset[Any]) -> list[str]:
    """What a person should know where data are few, a sentence each."""
    counts = data.examples()
    if counts is None:
        return []
    learned, judged = counts
    said = []
    if learned < LEARNED:
        said.append(
            f"{_examples(learned)} to learn from are so few that they are learned by heart; "
            f"have {LEARNED} at least, better thousands"
        )
    if judged < JUDGED:
        said.append(
            f"the final figures are of {_examples(judged)}, fewer than {JUDGED}, so chance decides "
            "much of them"
        )
    return said


def _examples(count: int) -> str:
    return f"{count} example{'s' * (count != 1)}"

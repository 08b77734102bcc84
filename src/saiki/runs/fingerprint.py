"""Whether the data of a run are still those that it began with."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from saiki.data.dataset import Dataset

Fingerprint = dict[str, tuple[int, str, str]]
"""By the kind of items: how many there are, a checksum of them in their order, and one of them in
any order."""
_ROOM = 2**128


def fingerprint(data: Dataset[Any]) -> Fingerprint:
    return {kind: _of(items) for kind, items in data.items().items()}


def _of(items: Iterable[str | bytes]) -> tuple[int, str, str]:
    ordered, unordered, count = hashlib.sha256(), 0, 0
    for item in items:
        data = item if isinstance(item, bytes) else item.encode("utf-8", "surrogatepass")
        digest = hashlib.sha256(data).digest()
        ordered.update(digest)
        unordered = (unordered + int.from_bytes(digest[:16])) % _ROOM
        count += 1
    return count, ordered.hexdigest()[:32], f"{unordered:032x}"


def changes(before: Mapping[str, Iterable[int | str]], now: Fingerprint) -> str:
    """What differs, in words; nothing if nothing does."""
    differences = []
    for kind, (count, ordered, unordered) in now.items():
        count_before, ordered_before, unordered_before = before.get(kind, (0, "", ""))
        if count != count_before:
            differences.append(f"there are {count:,} {kind} instead of {count_before:,}")
        elif unordered != unordered_before:
            differences.append(f"not all {kind} are what they were")
        elif ordered != ordered_before:
            differences.append(f"the {kind} are in another order")
    return ", ".join(differences)

"""What the tests take, file by file, in seconds of one processor, children of theirs with them.

python tools/durations.py
python tools/durations.py -m long tests/experiments

Words after it are pytest's. The table goes to standard output, the longest file first.
"""

import collections
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACE = "SAIKI_DURATIONS"
"""The variable of the environment that names the folder of what each process has measured."""
SHOWN = 1.0
"""Seconds from which on a file has a row of its own."""


def processor_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A line for each test: its seconds, and its file."""
    before = processor_seconds()
    result = yield
    path = item.path.relative_to(ROOT).as_posix()
    with (Path(os.environ[PLACE]) / str(os.getpid())).open("a", encoding="utf-8") as file:
        file.write(f"{processor_seconds() - before} {path}\n")
    return result


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        tools = os.pathsep.join(filter(None, (str(ROOT / "tools"), os.environ.get("PYTHONPATH"))))
        words = ["-p", "durations", "-n", "2", "--dist", "loadfile", *sys.argv[1:]]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words],
            cwd=ROOT,
            env={**os.environ, PLACE: folder, "PYTHONPATH": tools},
            stdout=sys.stderr,
            check=False,
        )
        seconds: dict[str, list[float]] = collections.defaultdict(list)
        for measured in Path(folder).iterdir():
            for line in measured.read_text(encoding="utf-8").splitlines():
                figure, _, path = line.partition(" ")
                seconds[path].append(float(figure))
    table = sorted(((sum(all_), len(all_), path) for path, all_ in seconds.items()), reverse=True)
    print("| seconds | tests | file |\n|---|---|---|")
    for total, count, path in table:
        if total >= SHOWN:
            print(f"| {total:.1f} | {count} | {path} |")
    rest = [row for row in table if row[0] < SHOWN]
    print(f"| {sum(row[0] for row in rest):.1f} | {sum(row[1] for row in rest)} | others |")
    print(f"| {sum(row[0] for row in table):.1f} | {sum(row[1] for row in table)} | all |")
    return done.returncode


if __name__ == "__main__":
    raise SystemExit(main())

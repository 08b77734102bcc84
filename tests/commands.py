"""Commands as a person gives them: what they print, and with what they end."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

from saiki import cli

SMALL = [
    "adder",
    "--iterations",
    "30",
    "--bits",
    "4",
    "--longer-bits",
    "4",
    "--hidden-size",
    "4",
    "--log-every",
    "10",
]


def saiki(*words):
    """Exit code, lines on stdout and lines on stderr of one command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = cli.main([str(word) for word in words])
        except SystemExit as end:
            code = end.code
    return code, out.getvalue().splitlines(), err.getvalue().splitlines()


def process(*words, **options):
    return subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=120, **options
    )


def refused(*words):
    """The one line on stderr of a command that must end with exit code 2 and do nothing."""
    before = sorted(Path().iterdir())
    code, out, err = saiki(*words)
    assert (code, out, len(err)) == (2, [], 1), (code, out, err)
    assert sorted(Path().iterdir()) == before
    return err[0]

"""Commands as a person gives them: what they print, and with what they end."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path

import pytest

from saiki import cli
from saiki.errors import InputError


def flags(**knobs):
    """Knobs as words of a command."""
    return [word for k, v in knobs.items() for word in (f"--{k.replace('_', '-')}", str(v))]


SMALL = ["adder", *flags(iterations=30, bits=4, longer_bits=4, hidden_size=4, log_every=10)]


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


def refusal(call):
    """The one sentence with which a call refuses."""
    with pytest.raises(InputError) as caught:
        call()
    assert "\n" not in str(caught.value)
    return str(caught.value)

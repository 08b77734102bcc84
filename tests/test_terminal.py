"""What others wrote does nothing to a terminal, wherever it is printed."""

import io
import json

import pytest

from commands import process, saiki
from saiki import progress
from saiki.errors import InputError, printable
from saiki.terminal import complain, say

EVIL = "a\x1b]0;owned\x07\x9b31m\r\u202eb"
SAFE = "a\\u001b]0;owned\\u0007\\u009b31m\\u000d\\u202eb"


def test_what_a_terminal_acts_on_is_escaped_and_nothing_else():
    assert printable(EVIL) == SAFE
    for text in ("", "北 Straße\u3000“x”", "👩\u200d🔬", "\u200fשלום", "name\udc80"):
        assert printable(text) == text
    acts = [chr(c) for c in (*range(32), *range(127, 160), 0x2028, 0x2029, 0x202A, 0x2069)]
    assert not any(c in printable("".join(acts)) for c in acts)


def test_json_stays_what_it_is(capsys):
    escaped = json.dumps({"text": EVIL + "\n"}, ensure_ascii=False)
    say(escaped)
    out = capsys.readouterr().out
    assert json.loads(out) == {"text": EVIL + "\n"}
    assert not any(c in out for c in "\x1b\x9b\r\u202e")


def test_lines_stay_lines_but_in_a_sentence(capsys):
    say("a\tb\nc")
    complain(f"saiki: no file {EVIL}\nsaiki: all is well")
    assert capsys.readouterr() == (
        "a\tb\nc\n", f"saiki: no file {SAFE}\\u000asaiki: all is well\n"
    )  # fmt: skip


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_line_of_progress_is_safe(is_terminal, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: is_terminal, raising=False)
    line = progress.Line(stream)
    line.stage = lambda: EVIL
    line.write()
    assert SAFE in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_commands_quote_what_they_are_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in ([EVIL], ["show", EVIL], ["run", "adder", f"--{EVIL}"], ["compare", EVIL],
                  ["predict", EVIL, "x"], ["run", "words", "--data", EVIL]):  # fmt: skip
        code, out, err = saiki(*words)
        assert (code, out, len(err)) == (2, [], 1), err
        assert "\x1b" not in err[0]
        assert "\u202e" not in err[0]


def test_what_data_say_is_quoted_in_errors(tmp_path):
    (tmp_path / "pairs.tsv").write_text(f"{EVIL}\tx\n{EVIL}\ty\n", newline="")
    code, _, err = saiki("run", "translate", "--data", tmp_path / "pairs.tsv", "--out", "nothing")
    assert (code, len(err)) == (2, 1)
    assert "\x1b" not in err[0]


def test_warnings_of_the_program_are_safe():
    code = "import warnings; from saiki.cli import streams; streams.prepare(); "
    done = process("-c", code + f"warnings.warn({EVIL!r})", check=True)
    assert f"UserWarning: {SAFE}\n" in done.stderr


def test_an_error_is_one_line(monkeypatch, capsys):
    from saiki import cli

    def fails(words):
        raise InputError(f"one\ntwo {EVIL}")

    monkeypatch.setitem(cli.COMMANDS, "ls", ("", fails))
    assert cli.main(["ls"]) == 2
    assert capsys.readouterr().err == f"saiki ls: one\\u000atwo {SAFE}\n"

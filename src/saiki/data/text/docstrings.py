"""English that is no novel and is on every machine: what Python's own library says of itself."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

from saiki.errors import InputError
from saiki.text.sentences import split_sentences

_PROSE = re.compile(r"[A-Z][A-Za-z0-9 ,;:'\"()-]+(?<![ ,;:-])[.!?]")
_CODE = re.compile(r"[a-z][A-Z]|\w\(|\(\)|--|:[A-Za-z]")


def docstrings(library: Path = Path(os.__file__).parent) -> list[str]:
    """The sentences of the docstrings of a folder of modules, but those with anything of code in
    them, such as calls, underscores, capitals inside a word and dots that end none."""
    sentences = [s for file in sorted(library.glob("*.py")) for s in _sentences(file)]
    if not sentences:
        raise InputError(
            f"{library} holds no sources of Python, whose docstrings are a text of another kind "
            "than novels; name one of yours with --other"
        )
    return [*dict.fromkeys(sentences)]


def _sentences(file: Path) -> Iterator[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for node in ast.walk(ast.parse(file.read_bytes())):
        text = ast.get_docstring(node) if isinstance(node, documented) else None
        for block in re.split(r"\n\s*\n", text or ""):
            for sentence in split_sentences(" ".join(block.split())):
                if _PROSE.fullmatch(sentence) and not _CODE.search(sentence):
                    yield sentence

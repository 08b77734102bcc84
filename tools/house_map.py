"""The rooms of saiki, each by the first sentence of its docstring: the map of docs/architecture.md.

``python tools/house_map.py`` writes them anew.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "saiki"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "```\nsrc/saiki/\n", "```\n"


def rooms() -> list[Path]:
    """All of them, from those that import nothing of the others to those that import them all."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    names = [name for layer in reversed(layers) for name in layer.split(" | ")]
    return [path if (path := SOURCE / n).is_dir() else path.with_suffix(".py") for n in names]


def lines(path: Path, indent: str = "  ") -> Iterator[str]:
    """A room, and the folders in it."""
    module = path / "__init__.py" if path.is_dir() else path
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    text = " ".join(docstring.partition("\n\n")[0].split())
    text = re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`|`", r"\1", text)
    sentence = re.split(r"(?<!\bal)\.(?= |$)", text)[0]
    yield f"{indent + path.name + '/' * path.is_dir():<20} {sentence}\n"
    for inner in sorted(path.glob("*/__init__.py")):
        yield from lines(inner.parent, indent + "  ")


def with_map(page: str) -> str:
    """The page with the rooms as they are."""
    before, _, rest = page.partition(BEGIN)
    now = "".join(line for path in rooms() for line in lines(path))
    return before + BEGIN + now + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_map(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

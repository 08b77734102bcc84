"""``saiki plot``: pictures of activation functions."""

from pathlib import Path

from saiki.cli.common import Parser, new_path
from saiki.errors import InputError, near
from saiki.terminal import say


def main(words: list[str]) -> int:
    from saiki.experiments import outlines

    known = outlines.names().activations
    parser = Parser("plot", "Draw activation functions and their derivatives.")
    names = ", ".join(("activations", *known))
    parser.add_argument("name", metavar="NAME", help=f"one of {names}")
    parser.add_argument("--out", type=new_path, help="the picture; NAME.png without it")
    for parameter in dict.fromkeys(p for parameters in known.values() for p in parameters):
        owners = ", ".join(name for name, parameters in known.items() if parameter in parameters)
        parser.add_argument(f"--{parameter}", type=float, help=f"parameter of {owners}")
    options = parser.parse_args(words)
    if options.name not in (*known, "activations"):
        hint = near(options.name, (*known, "activations"))
        raise InputError(f"there is no activation {options.name!r}; there are {names}{hint}")
    arguments = {
        p: getattr(options, p) for p in ("alpha", "beta") if getattr(options, p) is not None
    }
    if options.name == "activations" and arguments:
        raise InputError(f"name the activation whose {', '.join(arguments)} is meant")
    from saiki.activations import CATALOGUE
    from saiki.plots.activations import draw_activations

    if options.name == "activations":
        chosen = list(CATALOGUE.values())
    else:
        chosen = [CATALOGUE[options.name].with_parameters(**arguments)]
    say(draw_activations(options.out or Path(f"{options.name}.png"), chosen))
    return 0

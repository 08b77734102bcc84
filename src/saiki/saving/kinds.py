"""Whether data are of the kind that a constructor is annotated with."""

import collections.abc
import types
from collections.abc import Callable
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


@cache
def kinds_of(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of its arguments by their names, and of what it returns."""
    return get_type_hints(function)


def fits(value: Any, kind: Any) -> bool:
    """Whether ``value`` is of that kind; a whole number is a number, too, but true is none.

    >>> fits([1, 2.5], collections.abc.Sequence[float]), fits(True, int), fits(None, int | None)
    (True, False, True)
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return any(fits(value, each) for each in inner)
    if origin is Literal:
        return isinstance(value, str) and value in inner
    if origin is collections.abc.Callable:
        return callable(value)
    if origin in (collections.abc.Sequence, collections.abc.Iterable):
        return isinstance(value, list) and all(fits(each, inner[0]) for each in value)
    if kind is Any:
        return True
    if kind in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if kind is float else kind)


def in_words(kind: Any) -> str:
    """What an error calls a kind."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(map(in_words, inner))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (collections.abc.Sequence, collections.abc.Iterable):
        return f"a list, each {in_words(inner[0])}"
    return _WORDS.get(kind) or _WORDS.get(origin) or f"of the class {kind.__name__}"


_WORDS: dict[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "text",
    type(None): "null", Callable: "a function", collections.abc.Callable: "a function",
}  # fmt: skip

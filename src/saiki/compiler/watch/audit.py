"""What code a step runs, seen by the interpreter's profile hook while the step is traced.

A fingerprint follows what a cell leads to. That it has followed all that the step runs, the run
itself tells: of code of users that it did not come across, or of names that an installed package
reads on the step's behalf, it is told, and follows them, too.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from saiki.compiler.watch.answers import is_reader, why_not_called, why_not_run
from saiki.compiler.watch.code import ALL, COPIED, Ran
from saiki.compiler.watch.fingerprint import Fingerprint
from saiki.compiler.watch.whose import LIBRARIES, is_installed_space, is_of_pytorch
from saiki.errors import CompileError

_NAMED_TUPLE = "namedtuple_"
"""How the modules are called in which named tuples have what makes them, whosever they are."""
_EVALUATED = "<module>"
"""The name of code that is evaluated."""


class MoreRanError(Exception):
    """The step ran what its fingerprint does not follow.

    Args:
        ran: all of that.
    """

    def __init__(self, ran: Ran) -> None:
        super().__init__()
        self.ran = ran


class Audit:
    """Notes what runs while it is on."""

    def __init__(self) -> None:
        self.codes: dict[int, CodeType] = {}
        self.names: set[str] = set()
        self.refused = ""
        self._on_behalf: list[bool] = []
        """Of each frame: whether it is a user's, or one of a package that a user's has called."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Notes what the block runs."""
        collecting = gc.isenabled()
        gc.disable()  # or it might call what a user's objects do as they go
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)
            self._on_behalf.clear()
            if collecting:
                gc.enable()

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Notes nothing in the block, in which nothing of a user's runs."""
        sys.setprofile(None)
        try:
            yield
        finally:
            sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            self._on_behalf.append(self._is_on_behalf(frame))
        elif event == "return":
            if self._on_behalf:
                self._on_behalf.pop()
        elif event == "c_call" and self._on_behalf and self._on_behalf[-1]:
            self._called(argument, is_of_user=id(frame.f_code) in self.codes)

    def _is_on_behalf(self, frame: FrameType) -> bool:
        code = frame.f_code
        if id(code) in self.codes:
            return True
        name = str(frame.f_globals.get("__name__"))
        is_asked = bool(self._on_behalf) and self._on_behalf[-1]
        installed = is_installed_space(frame.f_globals)
        made = name.startswith(_NAMED_TUPLE) or code.co_name == _EVALUATED
        if not installed and (is_asked or not made):
            self.codes[id(code)] = code
            return True
        if not is_asked and is_of_pytorch(name):
            return False
        self.refused = self.refused or why_not_run(code, name)
        if name.partition(".")[0] in LIBRARIES:
            return False
        self.names.update(code.co_names)
        return True

    def _called(self, function: Any, is_of_user: bool) -> None:
        self.refused = self.refused or why_not_called(function, is_of_user)
        if is_reader(function):
            self.names.add("getattr")

    def must_be_followed(self, walk: Fingerprint, name: str) -> None:
        """Raise unless the fingerprint has followed all that ran.

        Raises:
            MoreRanError: it can follow more.
            CompileError: some of it cannot be followed.
        """
        if self.refused:
            raise CompileError(f"step of {name} {self.refused}")
        codes = [code for key, code in self.codes.items() if key not in walk.codes]
        any_name = ALL if walk.waiting or walk.read_modules else set()
        unread = (self.names - walk.mentioned) & (walk.waiting.keys() | any_name)
        unfollowed = walk.unfollowed_names() | {COPIED}
        names = unread | ((self.names - walk.named) & unfollowed)
        if not codes and not names:
            return
        if {*walk.ran.codes.values()} >= {*codes} and not names:  # made anew each time, perhaps
            code = codes[0]
            raise CompileError(
                f"step of {name} runs {code.co_qualname} ({code.co_filename}, line "
                f"{code.co_firstlineno}), and what leads there cannot be followed"
            )
        raise MoreRanError(Ran([*walk.ran.codes.values(), *codes], walk.ran.names | names))

"""Errors for the person who made the mistake: what was given, what is allowed, what to try."""


class SaikiError(Exception):
    """Base of every error saiki raises on purpose; the command line prints it as one line."""


class CellError(SaikiError, ValueError):
    """A cell breaks the contract of :class:`saiki.Cell`."""


class InputError(SaikiError, ValueError):
    """A value, a shape or a file given by the user is not what is needed."""


class CompileError(SaikiError):
    """A cell cannot be compiled; the message names the operation and the line of ``step``."""


class TraceError(CompileError):
    """``step`` raised while it was traced, perhaps for a passing reason."""


class ExportError(SaikiError):
    """A model cannot be exported, or the file would not compute what the model does."""


class OutputError(SaikiError):
    """Standard output cannot be written: its disk is full, say."""

"""The backends on which the cells of the literature are tested."""

from compiler.conftest import each_backend, interpreter

__all__ = ["each_backend", "interpreter"]

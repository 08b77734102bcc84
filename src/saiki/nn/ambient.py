"""Who else is listening: what tensors are and which modes are on when a layer is called.

Kernels take plain tensors of numbers. A subclass of tensors, a tracer or a transform wants to see
operations of PyTorch instead, and for layers without options ``torch.nn`` has them.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.autograd import forward_ad
from torch.overrides import _pop_mode_temporarily
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from saiki.errors import InputError

PLAIN = {Tensor, nn.Parameter}

is_exporting: Callable[[], bool] = getattr(torch.compiler, "is_exporting", lambda: False)
"""Whether ``torch.export`` is at work; before PyTorch 2.7 its tensors alone tell."""


def are_plain(tensors: Iterable[Any]) -> bool:
    """Whether all are strided tensors of PyTorch's own class, without anything behind them."""
    return all(type(t) in PLAIN and t.layout is torch.strided and not t.is_nested for t in tensors)


def is_watched() -> bool:
    """Whether a tracer, a transform or a mode wants to see each operation, or to change it."""
    return bool(
        torch._C._is_any_autocast_enabled()
        or torch._C._are_functorch_transforms_active()
        or torch._C._len_torch_dispatch_stack()
        or forward_ad._current_level >= 0
        or torch._C._is_tracing()
    )


def is_written_down() -> bool:
    """Whether what runs now ends in a file or graph for others, who know no operations of ours."""
    return torch._C._is_tracing() or is_exporting()


@contextmanager
def unwatched() -> Iterator[None]:
    """Let nobody see what is done: modules made here belong to no trace and are no batch."""
    trace = torch._C._get_tracing_state()
    resume = torch._C._set_tracing_state  # type: ignore[attr-defined]
    with ExitStack() as stack:
        # what a trace has seen belongs to its graph, and to use it after that graph is gone ends
        # the process
        resume(None)
        stack.callback(resume, trace)
        stack.enter_context(temporarily_clear_interpreter_stack())
        stack.enter_context(_disable_current_modes())
        for _ in range(torch._C._len_torch_function_stack()):
            stack.enter_context(_pop_mode_temporarily())
        yield


def shapes(tensors: Iterable[Tensor]) -> list[torch.Size]:
    """Their shapes in numbers; in a trace they would be tensors."""
    if torch._C._is_tracing():
        with unwatched():
            return [t.shape for t in tensors]
    return [t.shape for t in tensors]


def leaf(module: nn.Module, input: Any, hx: Any) -> fx.Proxy | None:
    """The call of ``module`` as one node, where ``torch.fx`` traces it symbolically.

    The tracer takes modules of ``torch.nn`` as they are and looks into all others; into one that
    takes the place of theirs it should not look either.
    """
    given = (input,) if hx is None else (input, hx)
    proxy = next((v for v in tree_leaves(given) if isinstance(v, fx.Proxy)), None)
    if proxy is None or not isinstance(proxy.tracer, fx.Tracer):
        return None
    path = proxy.tracer.path_of_module(module)
    return proxy.tracer.create_proxy("call_module", path, given, {})


class Unscripted:
    """What TorchScript and quantisation hear from a module that only looks like ``torch.nn``'s."""

    def __prepare_scriptable__(self: Any) -> Any:
        raise InputError(
            f"TorchScript cannot read {self}; saiki.swap(model, back=True) makes a layer without "
            "options one of torch.nn, which it can, and saiki.export.onnx writes any"
        )

    @property
    def qconfig(self: Any) -> Any:
        """How quantisation should treat the module, which it does not."""
        if "qconfig" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no qconfig")
        return self.__dict__["qconfig"]

    @qconfig.setter
    def qconfig(self: Any, value: Any) -> None:
        self.__dict__["qconfig"] = value
        warnings.warn(
            f"{self} stays in floating point: quantisation knows the layers of torch.nn alone, "
            "which saiki.swap(model, back=True) gives back",
            stacklevel=3,
        )

    @qconfig.deleter
    def qconfig(self: Any) -> None:
        del self.__dict__["qconfig"]

"""The names of PyTorch that are not promised to stay, in one place.

Most are about who else is listening: what tensors are, and which modes are on when a layer is
called. Kernels take plain tensors of numbers; a subclass of tensors, a tracer or a transform wants
to see operations of PyTorch instead.
"""

import copy
import linecache
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._C._dynamo.eval_frame import get_eval_frame_callback
from torch._decomp import core_aten_decompositions, get_decompositions
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.autograd import forward_ad
from torch.fx import traceback
from torch.fx._lazy_graph_module import _use_lazy_graph_module
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.graph_module import _loader
from torch.nn.modules import module as _module
from torch.nn.utils._expanded_weights import ExpandedWeight
from torch.nn.utils.stateless import _reparametrize_module
from torch.overrides import _pop_mode_temporarily
from torch.utils._python_dispatch import (
    _disable_current_modes,
    _get_current_dispatch_mode_stack,
)
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

__all__ = [
    "FakeTensor", "FakeTensorMode", "are_plain", "core_aten_decompositions", "forget",
    "fx_state_kept", "get_decompositions", "graphs_alone", "has_global_hooks", "is_autocast_on",
    "is_batched", "is_disturbed", "is_expanded", "is_followed", "is_plain", "is_transformed",
    "is_unseen", "is_watched", "is_written", "leaf", "make_fx", "seed", "shapes", "swapped",
    "translations_kept", "tree_flatten", "tree_leaves", "tree_map", "tree_unflatten", "undisturbed",
    "unwatched",
]  # fmt: skip

swapped = _reparametrize_module
"""``with swapped(module, tensors):`` other tensors in the place of parameters and buffers."""

undisturbed: Any = getattr(torch, "_disable_dynamo")  # noqa: B009
"""Makes a function that ``torch.compile`` runs as it is, though it is called by one of its own."""


def is_disturbed() -> bool:
    """Whether a function that is called now would be compiled were it not :data:`undisturbed`, of
    which the wrapper alone takes several microseconds."""
    return get_eval_frame_callback() is not None


graphs_alone = partial(_use_lazy_graph_module, True)
"""``with graphs_alone():`` modules of torch.fx have their source written when somebody asks."""

PLAIN = {Tensor, nn.Parameter}


def is_plain(tensor: Tensor) -> bool:
    """Whether a kernel can take it, or, in a trace, what it will be: no subclass of tensors."""
    return type(tensor) in PLAIN or isinstance(tensor, FakeTensor | nn.Buffer)


def are_plain(tensors: Sequence[Any]) -> bool:
    """Whether all are strided tensors of PyTorch's own class, without anything behind them, of one
    type and on one device."""
    first = tensors[0]
    if type(first) not in PLAIN:
        return False
    kind, device = first.dtype, first.device
    for t in tensors:  # all that a layer has, at each of its calls
        if (
            type(t) not in PLAIN
            or t.dtype is not kind
            or t.layout is not torch.strided
            or t.device != device
            or t.is_nested
            or t.is_neg()
        ):
            return False
    return True


def is_autocast_on() -> bool:
    """Whether any device computes in fewer bits than its tensors have."""
    return bool(torch._C._is_any_autocast_enabled())


def is_transformed() -> bool:
    """Whether ``torch.func`` or a forward derivative is at work."""
    return bool(torch._C._are_functorch_transforms_active()) or forward_ad._current_level >= 0


def is_watched() -> bool:
    """Whether a tracer, a transform or a mode wants to see each operation, or to change it."""
    return (
        is_autocast_on()
        or is_transformed()
        or bool(torch._C._len_torch_dispatch_stack())
        or torch._C._is_tracing()
    )


def is_followed() -> bool:
    """Whether a mode of the user's sees each operation, and may change it."""
    for i in range(torch._C._len_torch_function_stack()):
        # those of PyTorch say on which device, or for whom, and change nothing
        if not type(torch._C._get_function_stack_at(i)).__module__.startswith("torch."):
            return True
    if not torch._C._len_torch_dispatch_stack():
        return False
    return any(not mode.is_infra_mode() for mode in _get_current_dispatch_mode_stack())


def is_unseen(tensor: Tensor) -> bool:
    """Whether nobody is there to see an operator called with that tensor first, so that the
    function behind it does as well."""
    return not (
        torch.compiler.is_compiling()
        or torch._C._len_torch_function_stack()
        or torch._C._len_torch_dispatch_stack()
        or type(tensor) not in PLAIN
    )


def is_written() -> bool:
    """Whether what runs now ends in a file or graph for others, who know no operations of ours."""
    if torch.compiler.is_dynamo_compiling():
        return bool(torch.compiler.is_exporting())
    return bool(torch.compiler.is_exporting() or torch._C._is_tracing())


def is_batched(tensor: Tensor | None) -> bool:
    """Whether it stands for several tensors, under ``torch.func.vmap`` or what
    ``is_grads_batched`` does."""
    if tensor is None:
        return False
    functorch = torch._C._functorch
    return functorch.is_batchedtensor(tensor) or functorch.is_legacy_batchedtensor(tensor)


def is_expanded(tensor: Tensor | None) -> bool:
    """Whether it is a parameter under ``call_for_per_sample_grads``."""
    return isinstance(tensor, ExpandedWeight)


def has_global_hooks() -> bool:
    """Whether hooks wait for every module there is to be called."""
    return bool(_module._has_any_global_hook())


def seed(number: int, everywhere: bool) -> None:
    """Seed what PyTorch draws from on the processor, or on all devices there are: notes of that for
    devices that nobody uses take a hundred times as long."""
    if everywhere:
        torch.manual_seed(number)
    else:
        torch.default_generator.manual_seed(number)


SHAPES = 4096
"""Results of operations on fake tensors that may be kept for the next trace: some MiB."""


def forget(*modules: fx.GraphModule) -> None:
    """Let go of what PyTorch keeps of graphs as long as the process lives: the source of each, and,
    where they have become many, the shapes of all that was traced with fake tensors."""
    for module in modules:
        name = type(module).forward.__code__.co_filename
        _loader.eval_cache.pop(name, None)
        linecache.cache.pop(name, None)
    if len(FakeTensorMode.cache) > SHAPES:
        FakeTensorMode.cache_clear()


_translations: dict[Any, Any] = {}


@contextmanager
def translations_kept() -> Iterator[None]:
    """What PyTorch's exporter to ONNX knows to translate, read once in a process: at each export it
    would parse the source of all its translations anew, which takes half of the time."""
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    kind: Any = ONNXRegistry
    original = kind.__dict__["from_torchlib"]

    def known(cls: Any, *which: Any, **named: Any) -> Any:
        key = which, *named.items()
        if key not in _translations:
            _translations[key] = original.__get__(None, cls)(*which, **named)
        registry = copy.copy(_translations[key])
        registry.functions = {op: list(ways) for op, ways in registry.functions.items()}
        return registry  # to which an export may add its own

    kind.from_torchlib = classmethod(known)
    try:
        yield
    finally:
        kind.from_torchlib = original


@contextmanager
def fx_state_kept() -> Iterator[None]:
    """What torch.fx notes about the node it traces at present, as it was, afterwards."""
    meta, preserve = dict(traceback.current_meta), traceback.should_preserve_node_meta
    try:
        yield
    finally:
        traceback.current_meta = meta
        traceback.should_preserve_node_meta = preserve


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
    with unwatched() if torch._C._is_tracing() else nullcontext():
        return [t.shape for t in tensors]


def leaf(module: nn.Module, *arguments: Any) -> fx.Proxy | None:
    """The call of ``module`` as one node, where ``torch.fx`` traces it symbolically.

    The tracer takes modules of ``torch.nn`` as they are and looks into all others; into a loop over
    time it should not look either.
    """
    while arguments and arguments[-1] is None:
        arguments = arguments[:-1]
    proxy = next((v for v in tree_leaves(arguments) if isinstance(v, fx.Proxy)), None)
    if proxy is None or not isinstance(proxy.tracer, fx.Tracer):
        return None
    path = proxy.tracer.path_of_module(module)
    return proxy.tracer.create_proxy("call_module", path, arguments, {})

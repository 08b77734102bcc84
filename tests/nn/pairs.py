"""A module of ours beside its equal of torch.nn."""

import warnings

import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils._pytree import tree_leaves, tree_map

import saiki.nn

KINDS = {
    "RNN tanh": ("RNN", {}),
    "RNN relu": ("RNN", {"nonlinearity": "relu"}),
    "GRU": ("GRU", {}),
    "LSTM": ("LSTM", {}),
    "LSTM projection": ("LSTM", {"proj_size": 2}),
}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
LENGTHS = {
    "sorted": torch.tensor([6, 4, 4, 1]),
    "unsorted": torch.tensor([4, 1, 6, 4]),
}


def pair(family, *args, **arguments):
    """Of torch.nn and ours, with the weights of the first."""
    theirs = getattr(torch.nn, family)(*args, **arguments)
    ours = getattr(saiki.nn, family)(*args, **arguments)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


def packed(x, lengths, enforce_sorted=False):
    """``x`` is (batch, time, features)."""
    return pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=enforce_sorted)


def states(layer, batch, dtype=torch.float64):
    """Random ones to begin with, as ``layer`` takes them; not batched if ``batch`` is None."""
    count = layer.num_layers * (1 + layer.bidirectional)
    rows = () if batch is None else (batch,)
    h = torch.randn(count, *rows, layer.proj_size or layer.hidden_size, dtype=dtype)
    if not isinstance(layer, torch.nn.LSTM):
        return h
    return h, torch.randn(count, *rows, layer.hidden_size, dtype=dtype)


def outcome(module, x, hx=None, seed=None):
    """Outputs, last states, and the gradients of a weighted sum of them, by name."""
    data = x.data if isinstance(x, PackedSequence) else x
    data = data.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    x = PackedSequence(data, *x[1:]) if isinstance(x, PackedSequence) else data
    if hx is not None:
        hx = tree_map(lambda s: s.detach().clone().requires_grad_(), hx)
    if seed is not None:
        torch.manual_seed(seed)
    results = tree_leaves(module(x) if hx is None else module(x, hx))
    results = [r for r in results if isinstance(r, torch.Tensor)]
    random = torch.Generator().manual_seed(1)
    loss = sum(
        (torch.randn(r.shape, generator=random, dtype=torch.float64).to(r.dtype) * r).sum()
        for r in results
        if r.is_floating_point()
    )
    leaves = {
        "x": data,
        **{f"hx {i}": s for i, s in enumerate([] if hx is None else tree_leaves(hx))},
    }
    leaves |= {name: p for name, p in module.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return {
        **{f"result {i}": r.detach() for i, r in enumerate(results)},
        **{f"gradient of {name}": g for name, g in zip(leaves, gradients, strict=True)},
    }


def without_onednn_warning(function):
    """``function()``, where torch.nn would say that it runs projections without oneDNN."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
        return function()


def failure(function):
    """The type and the message of the exception that ``function`` raises; None without one."""
    try:
        function()
    except Exception as error:
        return type(error), str(error)
    return None


def names_of(y):
    """The names of the operations that made ``y``, in one string."""
    names, nodes = [], [y.grad_fn]
    while nodes:
        node = nodes.pop()
        names.append(node.name())
        nodes += [n for n, _ in node.next_functions if n is not None]
    return " ".join(names)

"""The same recurrent layers in other libraries: one training step, forward and backward."""

import importlib.util
import os
from typing import Any

import torch
from torch import nn

from saiki.bench.harness import Step, training_step

TORCH = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


def of_torch(family: str, x: torch.Tensor, hidden: int, bidirectional: bool) -> Step:
    """``torch.nn``'s own."""
    layer = TORCH[family](x.shape[-1], hidden, batch_first=True, bidirectional=bidirectional)
    return training_step(layer, x)


def of_jax(family: str, x: torch.Tensor, hidden: int, bidirectional: bool) -> Step | None:
    """``jax.lax.scan`` under ``jit``, the product of x in front of the loop; None without jax."""
    if importlib.util.find_spec("jax") is None:
        return None
    import jax
    from jax import numpy as jnp

    gates = {"lstm": 4, "gru": 3, "rnn": 1}[family]
    key = jax.random.PRNGKey(0)

    def cell(state: Any, u: Any, U: Any) -> Any:
        h = state[0]
        v = h @ U
        if family == "rnn":
            h = jnp.tanh(u + v)
            return (h,), h
        if family == "gru":
            a, b, n = jnp.split(u, 3, -1)
            p, q, m = jnp.split(v, 3, -1)
            r, z = jax.nn.sigmoid(a + p), jax.nn.sigmoid(b + q)
            h = z * h + (1 - z) * jnp.tanh(n + r * m)
            return (h,), h
        i, f, g, o = jnp.split(u + v, 4, -1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    def direction(parameters: Any, x: Any, reverse: bool) -> Any:
        W, U, b = parameters
        u = jnp.swapaxes(x @ W + b, 0, 1)
        zero = jnp.zeros((x.shape[0], hidden))
        start = (zero, zero) if family == "lstm" else (zero,)
        return jax.lax.scan(lambda s, v: cell(s, v, U), start, u, reverse=reverse)[1]

    def loss(parameters: Any, x: Any) -> Any:
        ways = zip(parameters, (False, True), strict=False)
        return sum(direction(p, x, reverse).sum() for p, reverse in ways)

    def new() -> Any:
        W = 0.1 * jax.random.normal(key, (x.shape[-1], gates * hidden))
        U = 0.1 * jax.random.normal(key, (hidden, gates * hidden))
        return W, U, jnp.zeros(gates * hidden)

    parameters = [new() for _ in range(2 if bidirectional else 1)]
    compiled, data = jax.jit(jax.value_and_grad(loss)), jnp.asarray(x.numpy())
    return lambda: jax.block_until_ready(compiled(parameters, data))


def of_keras(family: str, x: torch.Tensor, hidden: int, bidirectional: bool) -> Step | None:
    """Keras on JAX; None where either is missing."""
    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("jax") is None:
        return None
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import jax
    import keras
    from jax import numpy as jnp

    kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}
    layer = kind[family](hidden, return_sequences=True)
    if bidirectional:
        layer = keras.layers.Bidirectional(layer)
    data = jnp.asarray(x.numpy())
    layer.build(data.shape)

    def loss(trainable: Any, x: Any) -> Any:
        fixed = [v.value for v in layer.non_trainable_variables]
        return layer.stateless_call(trainable, fixed, x)[0].sum()

    compiled = jax.jit(jax.value_and_grad(loss))
    trainable = [v.value for v in layer.trainable_variables]
    return lambda: jax.block_until_ready(compiled(trainable, data))


def all_of(family: str, x: torch.Tensor, hidden: int, bidirectional: bool) -> dict[str, Step]:
    """Every peer that is installed."""
    steps = {
        "torch.nn": of_torch(family, x, hidden, bidirectional),
        "jax": of_jax(family, x, hidden, bidirectional),
        "keras on jax": of_keras(family, x, hidden, bidirectional),
    }
    return {name: step for name, step in steps.items() if step is not None}

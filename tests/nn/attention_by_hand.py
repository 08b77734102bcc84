"""Attention with random weights, and in NumPy: a row, a step, a head and a position at a time."""

import math

import numpy as np
import torch

from saiki.nn.attention.attention import Attention


def make(score, dtype=torch.float64, scale=0.7, **arguments):
    """An attention of one size in everything, so that each score fits; all weights random."""
    defaults = {"query_size": 6, "memory_size": 6, "score": score, "reach": 2}
    if score == "location":
        defaults["longest"] = 9
    attention = Attention(**(defaults | arguments)).to(dtype)
    for p in attention.parameters():
        torch.nn.init.normal_(p, std=scale)
    return attention


def attend(attention, query, memory, mask, first=0, covered=None):
    """Weights ``(heads, batch, time, source)`` and contexts ``(batch, time, memory_size)``.

    Args:
        first: the step of the first query.
    """
    w = {name: p.detach().numpy() for name, p in attention.named_parameters()}
    query, memory, mask = query.detach().numpy(), memory.detach().numpy(), mask.numpy()
    heads, (batch, time, _), source = attention.heads, query.shape, memory.shape[1]
    values = memory @ w["value.weight"].T if heads > 1 else memory
    size = memory.shape[2] // heads
    weights = np.zeros((heads, batch, time, source))
    contexts = np.zeros((batch, time, memory.shape[2]))
    for b in range(batch):
        real = [s for s in range(source) if mask[b, s]]
        for t in range(time):
            for h in range(heads):
                share = slice(h * size, (h + 1) * size)
                e = {}
                for n, s in enumerate(real):
                    inside, factor = window(attention, w, query[b, t], n, len(real), first + t)
                    if inside:
                        c = 0.0 if covered is None else covered[b, t, s].item()
                        fits = score(attention, w, h, query[b, t], memory[b, s], s, c)
                        e[s] = math.exp(fits) * factor
                for s in e:
                    weights[h, b, t, s] = e[s] / sum(e.values())
                    contexts[b, t, share] += weights[h, b, t, s] * values[b, s, share]
            if heads > 1:
                contexts[b, t] = w["output.weight"] @ contexts[b, t]
    return weights, contexts


def score(attention, w, h, q, m, s, c):
    """How well query q fits the value m of position s, of which c was read, in head h."""
    name, heads = attention.arguments()["score"], attention.heads

    def of_head(x):
        size = len(x) // heads
        return x[h * size : (h + 1) * size]

    if name == "additive":
        u = of_head(w["score.query.weight"]) @ q + of_head(w["score.key.weight"]) @ m
        if attention.coverage:
            u = u + w["score.w"][h] * c
        return sum(w["score.v"][h][i] * math.tanh(u[i]) for i in range(len(u)))
    more = w["score.w"][h][0] * c if attention.coverage else 0.0
    if name == "location":
        return of_head(w["score.query.weight"])[s] @ q + more
    if name == "general":
        return of_head(q) @ (of_head(w["score.key.weight"]) @ m) + more
    if heads > 1:
        q, m = of_head(w["score.query.weight"]) @ q, of_head(w["score.key.weight"]) @ m
    return q @ m / (math.sqrt(len(q)) if name == "scaled_dot" else 1.0) + more


def window(attention, w, q, n, count, step):
    """Whether the n-th of ``count`` real positions is inside, and the factor that it gets."""
    kind = attention.arguments().get("window", "global")
    reach = attention.arguments()["reach"]
    if kind == "global":
        return True, 1.0
    if kind == "local-m":
        p = min(step, count - 1)
        return p - reach <= n <= p + reach, 1.0
    p = count / (1 + math.exp(-w["window.v.weight"][0] @ np.tanh(w["window.W.weight"] @ q)))
    sigma = reach / 2
    return p - reach <= n <= p + reach, math.exp(-((n - p) ** 2) / (2 * sigma**2))

"""Training the adder with the preset ``report``, beside a plain NumPy script.

The script has its gradients written by hand:

Backpropagation through time for z = σ(W_in x + W z), y = σ(W_out z) and half the squared error:
∂E/∂W_in = Σ δᵗ xᵗᵀ, ∂E/∂W_out = Σ δ_outᵗ zᵗᵀ, ∂E/∂W = Σ δᵗ zᵗ⁻¹ᵀ; there are no biases.
"""

from collections.abc import Iterator

import numpy as np
import torch

from saiki.bench.harness import Row, interleaved, row
from saiki.experiments.adder import Adder
from saiki.training import Training

ITERATIONS = 10_000


def rows(repeats: int = 3) -> Iterator[Row]:
    adder = Adder.from_dict({**Adder.preset("report"), "iterations": ITERATIONS})

    def ours() -> None:
        torch.manual_seed(0)
        Training(adder, adder.model()).run(lambda point: None)

    torch.set_num_threads(Adder.threads)
    timings = interleaved({"saiki": ours, "numpy": lambda: by_numpy(ITERATIONS)}, repeats)
    yield row(f"adder, preset report, {ITERATIONS} iterations", (1, 8, 2, 16), timings)


def by_numpy(iterations: int, bits: int = 8, hidden: int = 16, rate: float = 0.2) -> float:
    """Plain gradient descent on one random pair after another; returns the mean of the last 100
    losses."""
    random = np.random.default_rng(0)
    W_in = random.normal(0, 1, (hidden, 2))
    W = random.normal(0, 1 / np.sqrt(2), (hidden, hidden))
    W_out = random.normal(0, 1 / np.sqrt(16), (1, hidden))
    places = np.arange(bits)
    losses = []
    for _ in range(iterations):
        a, b = random.integers(0, 2 ** (bits - 1), 2)
        x = np.stack(((a >> places) & 1, (b >> places) & 1), 1).astype(float)
        target = (((a + b) >> places) & 1).astype(float)
        z = np.zeros((bits + 1, hidden))
        y = np.zeros(bits)
        for t in range(bits):
            z[t + 1] = 1 / (1 + np.exp(-(W_in @ x[t] + W @ z[t])))
            y[t] = (1 / (1 + np.exp(-(W_out @ z[t + 1]))))[0]
        delta_out = (y - target) * y * (1 - y)
        delta = np.zeros(hidden)
        d_W_in, d_W, d_W_out = np.zeros_like(W_in), np.zeros_like(W), np.zeros_like(W_out)
        for t in reversed(range(bits)):
            back = W.T @ delta + W_out[0] * delta_out[t]
            delta = back * z[t + 1] * (1 - z[t + 1])
            d_W_in += np.outer(delta, x[t])
            d_W += np.outer(delta, z[t])
            d_W_out[0] += delta_out[t] * z[t + 1]
        W_in -= rate * d_W_in
        W -= rate * d_W
        W_out -= rate * d_W_out
        losses.append(0.5 * ((y - target) ** 2).sum())
    return float(np.mean(losses[-100:]))

"""Forward passes and gradients in NumPy, written from the papers and without PyTorch.

A sequence is ``(time, features)``: one row of a batch. Matrices act on columns, as in the papers;
``W["i"]`` is the block of gate i.
"""

import numpy as np


def sigmoid(u):
    return 1 / (1 + np.exp(-u))


def relu(u):
    return np.maximum(u, 0)


SLOPES = {
    "sigmoid": (sigmoid, lambda u: sigmoid(u) * (1 - sigmoid(u))),
    "tanh": (np.tanh, lambda u: 1 / np.cosh(u) ** 2),
    "relu": (relu, lambda u: np.where(u > 0, 1.0, 0.0)),
}


def simple_rnn(x, z, W_in, W, b, f=np.tanh):
    """u^t = W_in x^t + W z^(t-1) + b, z^t = f(u^t): every u and every z, the first state ahead."""
    u, z = [], [z]
    for x_t in x:
        u.append(W_in @ x_t + W @ z[-1] + b)
        z.append(f(u[-1]))
    return np.array(u), np.array(z)


def simple_rnn_gradients(x, target, z, W_in, W, b, W_out, c, activation):
    """Backpropagation through time by hand, for v^t = W_out z^t + c, y^t = sigmoid(v^t).

    E = 1/2 sum_t |y^t - d^t|^2
    delta_out^t = dE/dv^t = (y^t - d^t) y^t (1 - y^t)
    delta^t = dE/du^t = f'(u^t) * (W^T delta^(t+1) + W_out^T delta_out^t)

    dE/dW_in = sum_t delta^t x^t^T        dE/dW_out = sum_t delta_out^t z^t^T
    dE/dW    = sum_t delta^t z^(t-1)^T    dE/db = sum_t delta^t    dE/dc = sum_t delta_out^t
    """
    f, slope = SLOPES[activation]
    u, z = simple_rnn(x, z, W_in, W, b, f)
    y = sigmoid(z[1:] @ W_out.T + c)
    delta_out = (y - target) * y * (1 - y)
    delta = np.zeros_like(u)
    after = np.zeros(len(b))
    for t in reversed(range(len(x))):
        after = delta[t] = slope(u[t]) * (W.T @ after + W_out.T @ delta_out[t])
    return {
        "W_in": sum(np.outer(d, x_t) for d, x_t in zip(delta, x, strict=True)),
        "W_out": sum(np.outer(d, z_t) for d, z_t in zip(delta_out, z[1:], strict=True)),
        "W": sum(np.outer(d, z_t) for d, z_t in zip(delta, z[:-1], strict=True)),
        "b": delta.sum(0),
        "c": delta_out.sum(0),
    }


def layer_norm(a, gain, bias, epsilon=1e-5):
    """Ba, Kiros & Hinton (2016), eq. 4, with PyTorch's epsilon under the root."""
    mean = a.sum() / len(a)
    variance = ((a - mean) ** 2).sum() / len(a)
    return gain * (a - mean) / np.sqrt(variance + epsilon) + bias


def lstm(
    x,
    h,
    c,
    W,
    U,
    b=None,
    p=None,
    P=None,
    norms=None,
    coupled=False,
    squash_input=True,
    squash_output=True,
    f=np.tanh,
    sigma=sigmoid,
):
    """Greff et al. (2017), section II and III: every h and the last c.

    A gate without an entry in ``W`` is 1 (NIG, NFG, NOG); ``coupled`` sets f = 1 - i (CIFG).
    ``b`` and ``p`` may lack gates. ``norms`` holds (gain, bias) of the norms of W x, U h and c,
    the first two over all gates in the order of ``W`` (Ba et al. 2016, eq. 20 to 22).
    """
    gates, outputs = list(W), []
    for x_t in x:
        a_x, a_h = (np.concatenate([M[k] @ v for k in gates]) for M, v in ((W, x_t), (U, h)))
        if norms:
            a_x, a_h = layer_norm(a_x, *norms[0]), layer_norm(a_h, *norms[1])
        a = dict(zip(gates, np.split(a_x + a_h, len(gates)), strict=True))
        for k in b or ():
            a[k] = a[k] + b[k]
        p_ = {k: (p or {}).get(k, 0.0) for k in "ifo"}
        i = sigma(a["i"] + p_["i"] * c) if "i" in a else 1.0
        forget = sigma(a["f"] + p_["f"] * c) if "f" in a else 1.0
        if coupled:
            forget = 1 - i
        g = f(a["g"]) if squash_input else a["g"]
        c = c * forget + g * i
        o = sigma(a["o"] + p_["o"] * c) if "o" in a else 1.0
        out = layer_norm(c, *norms[2]) if norms else c
        h = o * (f(out) if squash_output else out)
        if P is not None:
            h = P @ h
        outputs.append(h)
    return np.array(outputs), c


def gru(x, h, W, U, b, b_after=0.0, reset="after", f=np.tanh, sigma=sigmoid):
    """Cho et al. (2014) and cuDNN's form of it; z = 1 keeps the old state. Every h."""
    outputs = []
    for x_t in x:
        z = sigma(W["z"] @ x_t + U["z"] @ h + b["z"])
        r = sigma(W["r"] @ x_t + U["r"] @ h + b["r"])
        if reset == "before":
            n = f(W["n"] @ x_t + U["n"] @ (r * h) + b["n"])
        else:
            n = f(W["n"] @ x_t + b["n"] + r * (U["n"] @ h + b_after))
        h = n + z * (h - n)
        outputs.append(h)
    return np.array(outputs)

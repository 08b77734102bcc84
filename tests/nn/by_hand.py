"""Layers with options in NumPy, a row and a step at a time.

Written from the equations and from the documented layout of the parameters: gates i, f, g, o or
r, z, n in blocks of rows, without those that are switched off; peepholes i, f, o.
"""

import numpy as np

from oracles import layer_norm, relu, sigmoid

FUNCTIONS = {
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "relu": relu,
    "softplus": lambda u: np.log1p(np.exp(u)),
    "hard_sigmoid": lambda u: np.clip(u / 6 + 0.5, 0, 1),
    "identity": lambda u: u,
}


def step_of_rnn(w, o, x, seen, h):
    u = w["weight_ih"] @ x + w["weight_hh"] @ seen
    if "bias_ih" in w:
        u = u + w["bias_ih"] + w["bias_hh"]
    return (FUNCTIONS[o["activation"] or "tanh"](u),)


def step_of_lstm(w, o, x, seen, h, c):
    f, sigma = FUNCTIONS[o["activation"]], FUNCTIONS[o["recurrent_activation"]]
    has = {
        "i": o["input_gate"], "f": o["forget_gate"] and not o["coupled"], "g": True,
        "o": o["output_gate"],
    }  # fmt: skip
    gates = [k for k in "ifgo" if has[k]]
    a_x, a_h = w["weight_ih"] @ x, w["weight_hh"] @ seen
    if o["layer_norm"]:
        a_x = layer_norm(a_x, w["norm_x_weight"], w["norm_x_bias"])
        a_h = layer_norm(a_h, w["norm_h_weight"], w["norm_h_bias"])
    a = a_x + a_h
    if "bias_ih" in w:
        a = a + w["bias_ih"] + w["bias_hh"]
    a = dict(zip(gates, np.split(a, len(gates)), strict=True))
    p = dict.fromkeys("ifo", 0.0)
    if o["peephole"]:
        p |= dict(zip((k for k in gates if k != "g"), w["weight_ph"], strict=True))
    i = sigma(a["i"] + p["i"] * c) if has["i"] else 1.0
    forget = 1 - i if o["coupled"] else sigma(a["f"] + p["f"] * c) if has["f"] else 1.0
    c = forget * c + i * (f(a["g"]) if o["input_activation"] else a["g"])
    o_gate = sigma(a["o"] + p["o"] * c) if has["o"] else 1.0
    out = layer_norm(c, w["norm_c_weight"], w["norm_c_bias"]) if o["layer_norm"] else c
    h = o_gate * (f(out) if o["output_activation"] else out)
    return w["weight_hr"] @ h if "weight_hr" in w else h, c


def step_of_gru(w, o, x, seen, h):
    f, sigma = FUNCTIONS[o["activation"]], FUNCTIONS[o["recurrent_activation"]]
    (W_r, W_z, W_n), (U_r, U_z, U_n) = (np.split(w[f"weight_{k}"], 3) for k in ("ih", "hh"))
    b, d = (np.split(w[f"bias_{k}"], 3) if "bias_ih" in w else (0, 0, 0) for k in ("ih", "hh"))
    r = sigma(W_r @ x + b[0] + U_r @ seen + d[0])
    z = sigma(W_z @ x + b[1] + U_z @ seen + d[1])
    if o["reset"] == "before":
        n = f(W_n @ x + b[2] + U_n @ (r * seen) + d[2])
    else:
        n = f(W_n @ x + b[2] + r * (U_n @ seen + d[2]))
    return (z * h + (1 - z) * n,)


STEPS = {"RNN": step_of_rnn, "LSTM": step_of_lstm, "GRU": step_of_gru}
MERGES = {
    "concat": lambda a, b: np.concatenate([a, b], -1),
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: (a + b) / 2,
    "mul": lambda a, b: a * b,
}


def run(layer, rows, starts, masks=None, zones=None):
    """The outputs of each row and the last states, ``(layers · directions, batch, size)`` each.

    Args:
        rows: the input of each row, ``(its time, features)``.
        starts: arrays ``(layers · directions, batch, size)``, one for each state.
        masks: of the recurrent dropout, ``(batch, size)``, for each layer and direction in turn.
        zones: of the zoneout: for each direction, for each row, ``(its time, sizes of states)``.
    """
    weights = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    step, ends = STEPS[type(layer).__name__], [np.empty_like(s) for s in starts]
    for k in range(layer.num_layers):
        below, rows = rows, []
        for i, x in enumerate(below):
            directions = []
            for backwards in range(1 + layer.bidirectional):
                n = k * (1 + layer.bidirectional) + backwards
                suffix = f"_l{k}{'_reverse' if backwards else ''}"
                w = {m.removesuffix(suffix): p for m, p in weights.items() if m.endswith(suffix)}
                state, y = [s[n, i] for s in starts], np.empty((len(x), starts[0].shape[2]))
                for t in reversed(range(len(x))) if backwards else range(len(x)):
                    seen = state[0] * (1 if masks is None else masks[n][i])
                    new = step(w, layer.options, x[t], seen, *state)
                    if zones is not None:
                        sizes = np.cumsum([len(s) for s in new])[:-1]
                        mixed = zip(np.split(zones[n][i][t], sizes), state, new, strict=True)
                        new = [z * a + (1 - z) * b for z, a, b in mixed]
                    state, y[t] = list(new), new[0]
                for end, s in zip(ends, state, strict=True):
                    end[n, i] = s
                directions.append(y)
            rows.append(MERGES[layer.merge](*directions) if backwards else y)
    return rows, ends

"""RNN, LSTM and GRU of the ONNX operator specification, opset 22, in NumPy.

Written from the text of the specification alone, one row and one step at a time, to judge both
saiki and a runtime. Names are the specification's: X, W, R, B, P; t is a step, H and C the state.
Arguments are the inputs and attributes of the operators, with their defaults.
"""

import math

import numpy as np

DEFAULTS = {
    "Affine": (1.0, 0.0),
    "LeakyRelu": (0.01, None),
    "ThresholdedRelu": (1.0, None),
    "ScaledTanh": (1.0, 1.0),
    "HardSigmoid": (0.2, 0.5),
    "Elu": (1.0, None),
}
"""alpha and beta where the specification of the operator of that name gives them."""


def evaluate(name, alpha, beta, x):
    match name:
        case "Relu":
            return np.maximum(0, x)
        case "Tanh":
            return np.tanh(x)
        case "Sigmoid":
            return 1 / (1 + np.exp(-x))
        case "Affine":
            return alpha * x + beta
        case "LeakyRelu":
            return np.where(x >= 0, x, alpha * x)
        case "ThresholdedRelu":
            return np.where(x >= alpha, x, 0)
        case "ScaledTanh":
            return alpha * np.tanh(beta * x)
        case "HardSigmoid":
            return np.minimum(np.maximum(alpha * x + beta, 0), 1)
        case "Elu":
            return np.where(x >= 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1))
        case "Softsign":
            return x / (1 + np.abs(x))
        case "Softplus":
            return np.log(1 + np.exp(x))
    raise ValueError(name)


def functions(defaults, directions, clip, activations, activation_alpha, activation_beta):
    """The activation functions of each direction, clipped at their inputs."""
    alphas, betas = iter(activation_alpha or ()), iter(activation_beta or ())
    made = []
    for name in activations or defaults * directions:
        alpha, beta = DEFAULTS.get(name, (None, None))
        if alpha is not None:  # the values are consumed in the order of the functions that have one
            alpha = next(alphas, alpha)
        if beta is not None:
            beta = next(betas, beta)

        def function(x, name=name, alpha=alpha, beta=beta):
            return evaluate(name, alpha, beta, np.clip(x, -clip, clip))

        made.append(function)
    count = len(defaults)
    return [made[i * count : (i + 1) * count] for i in range(directions)]


def rnn_step(f, w, x, H):
    (f,) = f
    return (f(w["W"] @ x + w["R"] @ H + w["Wb"] + w["Rb"]),)


def lstm_step(functions, w, x, H, C, input_forget=0):
    f, g, h = functions
    Wi, Wo, Wf, Wc = np.split(w["W"] @ x + w["Wb"], 4)
    Ri, Ro, Rf, Rc = np.split(w["R"] @ H + w["Rb"], 4)
    Pi, Po, Pf = np.split(w["P"], 3)
    it = f(Wi + Ri + Pi * C)
    ft = 1 - it if input_forget else f(Wf + Rf + Pf * C)
    ct = g(Wc + Rc)
    Ct = ft * C + it * ct
    ot = f(Wo + Ro + Po * Ct)
    return ot * h(Ct), Ct


def gru_step(functions, w, x, H, linear_before_reset=0):
    f, g = functions
    Wz, Wr, Wh = np.split(w["W"] @ x + w["Wb"], 3)
    Rz, Rr, Rh = np.split(w["R"], 3)
    Rbz, Rbr, Rbh = np.split(w["Rb"], 3)
    zt = f(Wz + Rz @ H + Rbz)
    rt = f(Wr + Rr @ H + Rbr)
    ht = g(Wh + rt * (Rh @ H + Rbh)) if linear_before_reset else g(Wh + Rh @ (rt * H) + Rbh)
    return ((1 - zt) * ht + zt * H,)


KINDS = {
    "RNN": (rnn_step, 1, 1, ["Tanh"]),
    "LSTM": (lstm_step, 4, 2, ["Sigmoid", "Tanh", "Tanh"]),
    "GRU": (gru_step, 3, 1, ["Sigmoid", "Tanh"]),
}
"""The step, the number of gates and of states, and the default activations."""


def run(
    kind,
    X,
    W,
    R,
    B=None,
    sequence_lens=None,
    initial_h=None,
    initial_c=None,
    P=None,
    *,
    hidden_size,
    direction="forward",
    layout=0,
    clip=math.inf,
    activations=None,
    activation_alpha=None,
    activation_beta=None,
    **options,
):
    """Y, Y_h and, of the LSTM, Y_c."""
    step, gates, states, defaults = KINDS[kind]
    if layout == 1:
        X = X.swapaxes(0, 1)
    steps, batch, _ = X.shape
    reversed_ = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    D = len(reversed_)
    chosen = functions(defaults, D, clip, activations, activation_alpha, activation_beta)
    B = np.zeros((D, 2 * gates * hidden_size), X.dtype) if B is None else B
    P = np.zeros((D, 3 * hidden_size), X.dtype) if P is None else P
    lens = [steps] * batch if sequence_lens is None else sequence_lens
    Y = np.zeros((steps, D, batch, hidden_size), X.dtype)
    ends = np.zeros((states, D, batch, hidden_size), X.dtype)
    for d in range(D):
        Wb, Rb = np.split(B[d], 2)
        w = {"W": W[d], "R": R[d], "Wb": Wb, "Rb": Rb, "P": P[d]}
        for n in range(batch):
            state = [np.zeros(hidden_size, X.dtype)] * states
            for i, initial in enumerate((initial_h, initial_c)[:states]):
                if initial is not None:
                    state[i] = initial[n, d] if layout == 1 else initial[d, n]
            order = range(lens[n])
            for t in reversed(order) if reversed_[d] else order:
                state = step(chosen[d], w, X[t, n], *state, **options)
                Y[t, d, n] = state[0]
            ends[:, d, n] = state
    if layout == 1:
        Y, ends = Y.transpose(2, 0, 1, 3), ends.swapaxes(1, 2)
    return Y, *ends

"""Long short-term memory (Hochreiter & Schmidhuber 1997) and its variants."""

import torch
from torch import Tensor, nn

from saiki import activations
from saiki.cell import Cell
from saiki.errors import InputError
from saiki.initialise import initialise_


class LSTM(Cell, name="lstm.v1"):
    """Long short-term memory with a forget gate (Gers, Schmidhuber & Cummins 2000).

    i = σ(W_i x + U_i h + p_i ∘ c + b_i)    input gate
    f = σ(W_f x + U_f h + p_f ∘ c + b_f)    forget gate
    g = φ(W_g x + U_g h + b_g)              block input
    c ← f ∘ c + i ∘ g                       the constant error carousel
    o = σ(W_o x + U_o h + p_o ∘ c + b_o)    output gate, which sees the new c
    h ← P (o ∘ φ(c))                        output; P only with a projection

    The gates lie in the order i, f, g, o; a gate switched off has no block. The switches are those
    of Greff et al. (2017), "LSTM: A search space odyssey", but for full gate recurrence (FGR).

    Args:
        peephole: the terms p ∘ c (Gers & Schmidhuber 2000); otherwise there are none.
        activation: φ.
        recurrent_activation: σ.
        bias: whether b exists.
        input_gate: without it i = 1 (NIG).
        forget_gate: without it f = 1 (NFG), the network of 1997.
        output_gate: without it o = 1 (NOG).
        input_activation: without it g is not squashed (NIAF).
        output_activation: without it c is not squashed on its way out (NOAF).
        coupled: f = 1 − i (CIFG); there is no block for f.
        forget_bias: initial b_f, or −b_i where coupled (Jozefowicz et al. 2015 recommend 1).
        chrono: the longest dependency T expected, in steps: b_f = ln u with u ~ U(1, T − 1) and
            b_i = −b_f (Tallec & Ollivier 2018, §3); it replaces ``forget_bias``.
        layer_norm: LN(W x) + LN(U h) + b in the gates and φ(LN(c)) at the output
            (Ba, Kiros & Hinton 2016, eq. 20 to 22).
        projection_size: rows of P, the size of h (Sak, Senior & Beaufays 2014); none without it.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        peephole: bool = False,
        activation: str | activations.Function = "tanh",
        recurrent_activation: str | activations.Function = "sigmoid",
        bias: bool = True,
        input_gate: bool = True,
        forget_gate: bool = True,
        output_gate: bool = True,
        input_activation: bool = True,
        output_activation: bool = True,
        coupled: bool = False,
        forget_bias: float = 1.0,
        chrono: int | None = None,
        layer_norm: bool = False,
        projection_size: int | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size)
        if coupled and not (input_gate and forget_gate):
            raise InputError("coupled gates need both: leave input_gate and forget_gate on")
        if chrono is not None and not (chrono >= 3 and bias and input_gate and forget_gate):
            raise InputError("chrono needs a bias, both gates and at least 3 steps")
        if projection_size is not None and projection_size < 1:
            raise InputError(f"projection_size must be at least 1, got {projection_size}")
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.input_activation = input_activation
        self.output_activation = output_activation
        self.coupled = coupled
        self.forget_bias = forget_bias
        self.chrono = chrono
        self.projection_size = projection_size
        on = {"i": input_gate, "f": forget_gate and not coupled, "g": True, "o": output_gate}
        self.gates = [gate for gate, is_on in on.items() if is_on]
        self.peepholes = [gate for gate in self.gates if gate != "g"] if peephole else []

        output_size, width = projection_size or hidden_size, len(self.gates) * hidden_size
        self.W = nn.Linear(input_size, width, bias=False)
        self.U = nn.Linear(output_size, width, bias=False)
        self.b = nn.Parameter(torch.empty(width)) if bias else None
        self.p = nn.Parameter(torch.empty(len(self.peepholes), hidden_size)) if peephole else None
        self.P = nn.Linear(hidden_size, output_size, bias=False) if projection_size else None
        self.norm_x, self.norm_h, self.norm_c = (
            nn.LayerNorm(size) if layer_norm else nn.Identity()
            for size in (width, width, hidden_size)
        )
        self.reset_parameters()

    @property
    def state_sizes(self) -> tuple[int, int]:
        return self.projection_size or self.hidden_size, self.hidden_size

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """W Xavier and U orthogonal gate by gate, p zero, b zero but for the forget gate."""
        initialise_(self.W.weight, "xavier", gates=len(self.gates))
        initialise_(self.U.weight, "orthogonal", gates=len(self.gates))
        if self.p is not None:
            self.p.zero_()
        if self.P is not None:
            initialise_(self.P.weight, "xavier")
        for norm in (self.norm_x, self.norm_h, self.norm_c):
            if isinstance(norm, nn.LayerNorm):
                norm.reset_parameters()
        if self.b is not None:
            self.b.zero_()
            b = dict(zip(self.gates, self.b.chunk(len(self.gates)), strict=True))
            if self.chrono is not None:
                b_f = torch.empty_like(b["g"]).uniform_(1, self.chrono - 1).log_()
                b["i"].copy_(-b_f)
                if "f" in b:
                    b["f"].copy_(b_f)
            elif "f" in b:
                b["f"].fill_(self.forget_bias)
            elif self.coupled:
                b["i"].fill_(-self.forget_bias)

    def equations(self) -> str:
        sigma = activations.written(self.recurrent_activation)
        phi = activations.written(self.activation)
        b = "" if self.b is None else " + b"
        is_normed = isinstance(self.norm_c, nn.LayerNorm)

        def gate(name: str) -> str:
            inner = f"u_{name}"
            if not is_normed:
                inner = f"W_{name} x + U_{name} h" + (b and f"{b}_{name}")
            return inner + (f" + p_{name} ∘ c" if name in self.peepholes else "")

        lines = [f"u = LN(W x) + LN(U h){b}"] if is_normed else []
        lines += [f"{name} = {sigma}({gate(name)})" for name in ("i", "f") if name in self.gates]
        if self.coupled:
            lines.append("f = 1 − i")
        lines.append(f"g = {phi}({gate('g')})" if self.input_activation else f"g = {gate('g')}")
        carried = "f ∘ c" if "f" in self.gates or self.coupled else "c"
        lines.append(f"c ← {carried} + {'i ∘ g' if 'i' in self.gates else 'g'}")
        if "o" in self.gates:
            lines.append(f"o = {sigma}({gate('o')})")
        seen = "LN(c)" if is_normed else "c"
        output = f"{phi}({seen})" if self.output_activation else seen
        output = f"o ∘ {output}" if "o" in self.gates else output
        lines.append(f"h ← {output}" if self.P is None else f"h ← P ({output})")
        return "\n".join(lines)

    def step(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        u = self.norm_x(self.W(x)) + self.norm_h(self.U(h))
        if self.b is not None:
            u = u + self.b
        u = dict(zip(self.gates, u.chunk(len(self.gates), dim=-1), strict=True))
        p = dict(zip(self.peepholes, self.p, strict=True)) if self.p is not None else {}

        def gate(name: str) -> Tensor | float:
            if name not in u:
                return 1.0
            return self.recurrent_activation(u[name] + p[name] * c if name in p else u[name])

        i = gate("i")
        f = 1 - i if self.coupled else gate("f")
        g = self.activation(u["g"]) if self.input_activation else u["g"]
        c = f * c + i * g
        o = gate("o")
        h = o * (self.activation(self.norm_c(c)) if self.output_activation else self.norm_c(c))
        if self.P is not None:
            h = self.P(h)
        return h, c

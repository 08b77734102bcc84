"""What random cells do that is Python more than equations: changes in place, loops, branches."""

import re

from compiler.random_operations import SMOOTH, pair


def changed(b):
    """A fresh value, changed in place, some of it through views."""
    v = b.vector(3)
    n = v.width
    u = b.fitted(b.vector(), n)
    first = b.fitted(b.vector(), 2)
    fresh = b.pick("V.clone()", "V * 1.5", "torch.zeros_like(V)", f"V.new_zeros(x.shape[0], {n})",
                   f"torch.zeros(len(x), {n}, dtype=x.dtype)",
                   f"V.new_full((x.size(0), {n}), 0.3)", "torch.sin(V)")  # fmt: skip
    lines = b.dice.sample(
        (
            "{0}.add_(U)", "{0} += U", "{0}.masked_fill_(U > 0.3, 0.1)", "{0}[:, :2] = F",
            "{0}[:, -2:] += F",
            "{0}[:, 1:3].copy_(F)", "part = {0}[:, 1:3]\npart.mul_(0.4)", "{0}[:, 0] = F[:, 1]",
            "{0}[:, [2, 0]] = F", "{0}[:, 1] = 0.4", "{0}.view(-1, 1, N)[:, 0, :2].sub_(F)",
            "{0}[U > 0.2] = 0.1",
            "{0}.unsqueeze(1).add_(U[:, None])", "{0}.t()[0].mul_(0.5)", "{0}[:, ::2] *= 0.5",
            "{0}.index_copy_(1, torch.tensor([2, 1]), F)",
            "{0}.index_add_(1, torch.tensor([0, 0]), F)",
            "{0}.scatter_(1, torch.tensor([[1, 2]]).expand(len(x), -1), F)",
            "{0}[..., -1:] -= U[..., :1]",
            "a1, a2 = {0}[:, :1], {0}[:, 1:]\na2.mul_(0.5)\na1.add_(F[:, :1])",
            "{0}.addcmul_(U, U, value=0.2)",
        ),
        b.pick(1, 1, 2, 3),
    )  # fmt: skip
    if b.chance(0.3):  # what needs the value it changes for its gradient comes last
        lines.append(
            b.pick(
                "{0}.mul_(torch.sigmoid(U))", "{0}[:, 1:3].mul_(F)", "{0}.narrow(1, 0, 2).tanh_()"
            )
        )
    text = "\n".join((f"{{0}} = {fresh}", *lines))
    text = re.sub(r"\bN\b", str(n), text).replace("V.", f"{v.name}.").replace("V ", f"{v.name} ")
    text = re.sub(r"\bV\b", v.name, text)
    text = re.sub(r"\bU\b", u.name, text)
    b.block(re.sub(r"\bF\b", first.name, text), ((n,), False))


def loop(b):
    """Steps within the step, with shared weights or one after the other of a list."""
    v = b.vector(2)
    n, times = v.width, b.pick(2, 3)
    form = b.pick("shared", "list", "pointwise", "columns", "pairs")
    lines = [f"{{0}} = {v.name}"]
    if form == "shared":
        made = b.linear(n, n)
        lines += [
            f"for _ in range({times}):",
            f"    {{0}} = {{0}} + 0.3 * torch.tanh({made}({{0}}))",
        ]
    elif form == "list":
        layers = f"nn.ModuleList(nn.Linear({n}, {n}) for _ in range({times}))"
        made = b.attribute("L", f"self.{{name}} = {layers}")
        lines += [f"for layer in {made}:", "    {0} = torch.tanh(layer({0})) + {0}"]
    elif form == "pointwise":
        lines += [f"for i in range({times}):", "    {0} = {0} + 0.1 * (i - torch.sin({0}))"]
    elif form == "columns":
        lines += ["total = 0", f"for i in range({n}):"]
        lines += ["    total = total + {0}[:, i : i + 1] * (i + 0.5)"]
        lines += [f"{{0}} = torch.cat([total.tanh()] * {n}, 1) * {{0}}"]
    else:
        made = b.linear(n, n)
        lines += [f"{{1}} = {b.fitted(b.vector(), n).name}", f"for _ in range({times}):"]
        lines += [f"    {{0}}, {{1}} = torch.tanh({made}({{1}})), {{0}} * 0.5 + {{1}}"]
        return b.block("\n".join(lines), ((n,), True), ((n,), True))
    b.block("\n".join(lines), ((n,), form != "columns"))


def flag(b):
    """A branch that an attribute decides."""
    v = b.any(0, 1, 2)
    made = b.attribute("flag", f"self.{{name}} = {b.pick(True, False, 2, None)}")
    one, other = b.pick(*SMOOTH).format(v=v.name), b.pick(*SMOOTH).format(v=v.name)
    test = b.pick(f"{made}", f"not {made}", f"{made} is not None", "self.training")
    if b.chance(0.5):
        return b.emit(f"({one}) if {test} else ({other})", v.shape, v.distinct)
    b.block(f"if {test}:\n    {{0}} = {one}\nelse:\n    {{0}} = {other}", (v.shape, v.distinct))


def number(b):
    """Numbers that the cell holds: attributes, entries of tuples and dicts, buffers."""
    v = b.any(0, 1, 2)
    kind, made, use = b.pick(
        ("rate", "self.{name} = 0.7", "NAME * V"),
        ("pair", "self.{name} = (0.2, -0.6)", "V + NAME[1]"),
        ("table", "self.{name} = {'k': 0.4}", "V * NAME['k']"),
        ("s", 'self.register_buffer("{name}", torch.tensor(0.8))', "V * NAME"),
        ("count", 'self.register_buffer("{name}", torch.tensor([3]))', "V / NAME"),
        ("P", "self.{name} = nn.Parameter(torch.zeros(1))", "V + NAME"),
    )
    text = use.replace("V", v.name).replace("NAME", b.attribute(kind, made))
    b.emit(text, v.shape, v.distinct)


def detached(b):
    v = b.any(0, 1, 2)
    form = b.pick("V.detach()", "Bent.apply(V)", "V + (torch.sin(V) - V).detach()", "grad")
    if form == "grad":
        text = f"with torch.no_grad():\n    {{0}} = torch.tanh({v.name})"
        return b.block(text, (v.shape, v.distinct))
    b.emit(re.sub(r"\bV\b", v.name, form), v.shape, v.distinct)


def cast(b):
    v = b.any(0, 1, 2)
    text = b.pick("V.double()", "V.float().to(x.dtype)", "torch.tanh(V.float()).double()",
                  "V.to(x)",
                  "V.type_as(x)", "V.to(torch.float64)",
                  "torch.sin(V.double()).to(x.dtype)")  # fmt: skip
    b.emit(re.sub(r"\bV\b", v.name, text), v.shape, v.distinct)


def rows(b):
    """What a step does with the number of rows."""
    v = b.vector()
    text = b.pick(
        "V + V.new_ones(x.shape[0], N)", "V * torch.full((len(x), 1), 0.4, dtype=V.dtype)",
        "V.view(x.size(0), -1)",
        "V / x.shape[0]", "V * min(len(x), 4)", "V + 0.1 * torch.linspace(0, 1, N, dtype=x.dtype)",
        "V.reshape(len(V), N, 1).squeeze(2)",
        "V + torch.ones(N, dtype=x.dtype).expand(x.shape[0], N)",
        "torch.cat([V[:, :1] * 0 + 1, V], 1)[:, 1:]", "V.expand(x.shape[0], N)",
        "torch.zeros_like(V) + V",
    )  # fmt: skip
    text = re.sub(r"\bN\b", str(v.width), text)
    b.emit(re.sub(r"\bV\b", v.name, text), v.shape, v.distinct)


def repeated(b):
    v = b.vector()
    if v.width > 8:
        return pair(b)
    n = v.width
    text, width = b.pick(
        ("V[:, :1].expand(-1, 4)", 4), ("V.repeat(1, 2)", 2 * n),
        ("V.repeat_interleave(2, 1)", 2 * n),
        ("V.tile((1, 2))", 2 * n), ("F.pad(V, (1, 2))", n + 3),
        ("torch.stack([V, V.tanh()], 1).flatten(1)", 2 * n),
        ("torch.cat([V, V], 1)", 2 * n), ("V[:, [0, 0, -1]]", 3),
        ("torch.stack((V, V), -1).mean(-1)", n),
        ("F.pad(V, (0, 1), value=0.5)", n + 1),
    )  # fmt: skip
    b.emit(re.sub(r"\bV\b", v.name, text), (width,), False)


def scanned(b):
    v = b.vector(2)
    text = b.pick("V.cumsum(1)", "torch.tanh(V).cumprod(-1)", "torch.softmax(V, 1).cumsum(-1)",
                  "torch.fft.rfft(V, dim=1).real.sum(1, keepdim=True) + V",
                  "torch.logcumsumexp(V, 1)",
                  "torch.view_as_real(torch.polar(torch.ones_like(V), V)).sum(-1)",
                  "V.diff(dim=1, prepend=V[:, -1:])")  # fmt: skip
    b.emit(re.sub(r"\bV\b", v.name, text), v.shape, v.distinct)


SHARES = {
    changed: 0.3, loop: 0.3, flag: 0.2, number: 0.2, detached: 0.2, cast: 0.15, rows: 0.2,
    repeated: 0.3, scanned: 0.1,
}  # fmt: skip
"""Each with the share of cells that draw on it."""

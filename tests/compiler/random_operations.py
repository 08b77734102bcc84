"""The operations that random cells are made of: each adds statements to a cell in the making."""

import re

SMOOTH = (
    "torch.tanh({v})", "torch.sigmoid({v})", "torch.sin({v})", "torch.cos({v})", "-{v}",
    "F.softplus({v})", "F.gelu({v})", "F.silu({v})", "F.mish({v})", "torch.atan({v})",
    "torch.erf({v})", "torch.exp(-{v} * {v})", "torch.log(1.5 + torch.sin({v}))",
    "torch.rsqrt(0.5 + {v} * {v})", "torch.sqrt(0.5 + {v} * {v})", "torch.tanh({v}) ** 3",
    "torch.expm1(-{v} * {v})", "F.logsigmoid({v})", "1 - {v}", "{v} / 2", "0.3 * {v}.square()",
    "torch.reciprocal(1.5 + torch.sin({v}))", "torch.log1p(torch.sigmoid({v}))", "{v}.neg().exp() * 0 + {v}",
    "{v}.contiguous().clone()", "F.gelu({v}, approximate='tanh')", "2.0 ** torch.tanh({v})",
)  # fmt: skip
KINKED = (
    "torch.relu({v})", "{v}.abs()", "{v}.clamp(-0.6, 0.8)", "{v}.clamp(min=-0.3)", "F.leaky_relu({v}, 0.1)",
    "F.elu({v})", "F.selu({v})", "F.hardtanh({v})", "{v} * ({v} > 0.1)", "torch.where({v} > 0, {v}, 0.2 * {v})",
    "({v} > 0.2).to({v}.dtype)", "torch.sign({v})", "F.hardsigmoid({v})", "F.softsign({v})",
    "torch.where(({v} > 0) & ({v} < 1), {v}, torch.tanh({v}))", "{v}.masked_fill({v} < -0.2, 0.5)",
)  # fmt: skip
PAIRS = (
    "{a} + {b}", "{a} - {b}", "torch.tanh({a}) * {b}", "torch.sigmoid({a}) * {b}",
    "{a} / (1.5 + torch.sin({b}))", "torch.lerp({a}, {b}, torch.sigmoid({a}))",
    "torch.addcmul({a}, torch.tanh({a}), {b}, value=0.5)", "torch.sqrt({a} * {a} + {b} * {b} + 0.2)",
    "torch.add({a}, {b}, alpha=0.3)", "torch.exp(-({a} - {b}).square())", "torch.logaddexp({a}, {b})",
)  # fmt: skip
CHOICES = (
    "torch.where({a} > {b}, 0.5 * {a}, {b})", "torch.maximum({a}, {b})", "torch.minimum({a}, 0.3 + {b})",
    "torch.where({a} < 0, {b}, torch.tanh({b}))", "{a} * ({b} > 0)", "({a} >= {b}).to({a}.dtype) * {b}",
    "torch.where(({a} > 0) | ({b} > 0), {a}, {b})",
)  # fmt: skip
REDUCED = (
    ("{v}.sum({d}{k})", False), ("{v}.mean({d}{k})", False), ("{v}.amax({d}{k})", True),
    ("{v}.amin({d}{k})", True), ("torch.logsumexp({v}, {d}{k})", False), ("{v}.var({d}{k})", False),
    ("torch.linalg.vector_norm({v} + 0.1, dim={d}{k})", True), ("{v}.norm(dim={d}{k})", True),
    ("{v}.max({d}{k}).values", True), ("{v}.square().mean({d}{k}).sqrt()", True),
    ("({v} - {v}.mean({d}, keepdim=True)).square().sum({d}{k})", False), ("torch.tanh({v}).prod({d}{k})", True),
    ("{v}.std({d}{k})", True),
)  # fmt: skip
MATRICES = (
    "{W}", "torch.tanh({W})", "({W} / {W}.norm())", "torch.softmax({W}, 0)", "F.normalize({W}, dim=0)",
    "({W} * {mask})", "torch.where({mask} > 0, {W}, 0.1)", "{T}.t()", "{T}.T.contiguous()",
    "({U} @ {V})", "({W} - {W}.mean(0))", "({W} * {g})", "{W}.detach()", "{W}[{rows}]", "({W} + {W}.flip(0))",
    "torch.cat([{W}[:1], torch.sin({W}[1:])])", "{W}.view(-1).view({i}, {o})", "torch.stack({W}.unbind(0))",
)  # fmt: skip
SQUARES = (
    "{W}.tril()", "{W}.triu(1)", "({W} - {W}.t())", "torch.linalg.matrix_exp({W} - {W}.t())",
    "({W} + torch.eye({i}, dtype=x.dtype))", "torch.diag({g})", "({W} @ {W})", "torch.linalg.qr({W})[0]",
    "torch.linalg.solve({W} + 5 * torch.eye({i}, dtype=x.dtype), {W})", "{W}.diagonal().diag()",
)  # fmt: skip
CHANGED = (
    "{0}.fill_diagonal_(0.0)", "{0}.diagonal().zero_()", "{0}.t()[:1].mul_(0.5)", "{0}[0] = 0.2",
    "{0}.view(-1)[1:3].mul_(2.0)", "{0}.tanh_()", "{0}[:, 0].copy_({0}[:, -1].clone())",
)  # fmt: skip


def names(values):
    return ", ".join(v.name for v in values)


def smooth(b):
    v = b.any(0, 1, 2)
    b.emit(b.pick(*SMOOTH).format(v=v.name), v.shape, v.distinct)


def kinked(b):
    v = b.any(0, 1, 2, distinct=True)
    b.emit(b.pick(*KINKED).format(v=v.name), v.shape, False)


def alike(b, v):
    """A value of the shape of ``v``, or one that is broadcast to it."""
    same = [u for u in b.values if u.shape == v.shape and u != v]
    if same and b.chance(0.6):
        return b.pick(*same).name
    if len(v.shape) == 1 and b.chance(0.7):
        return b.fitted(b.vector(), v.width).name
    flat = b.flat(b.any(0, 1))
    column = flat.name if flat.width == 1 else f"{flat.name}[:, {b.pick(':1', '-1:')}]"
    return f"({column}{('[:, 0]', '', '[:, :, None]')[len(v.shape)]})"


def pair(b):
    v = b.any(0, 1, 2)
    text = b.pick(*PAIRS).format(a=v.name, b=alike(b, v))
    b.emit(text, v.shape, "-" not in text)


def choice(b):
    v = b.any(0, 1, 2, distinct=True)
    other = b.apart(b.emit(f"{v.name} * 0 + {alike(b, v)}", v.shape, False))
    b.emit(b.pick(*CHOICES).format(a=v.name, b=other.name), v.shape, False)


def linear(b):
    v, width = b.vector(), b.pick(1, 3, 4, 5, 6, 8, 10)
    b.emit(f"{b.linear(v.width, width)}({v.name})", (width,))


def product(b):
    """A product with a matrix made of parameters within the step."""
    v = b.vector()
    square = b.chance(0.4)
    i, o = v.width, v.width if square else b.pick(2, 3, 5, 8)
    if i == 1 or o == 1:
        return linear(b)
    text = b.pick(*(SQUARES if square else MATRICES))
    parts = {
        "W": lambda: b.parameter(i, o), "T": lambda: b.parameter(o, i), "U": lambda: b.parameter(i, 2),
        "V": lambda: b.parameter(2, o), "g": lambda: b.parameter(o), "mask": lambda: b.buffer((i, o)),
        "rows": lambda: str(b.dice.sample(range(i), i)), "i": lambda: str(i), "o": lambda: str(o),
    }  # fmt: skip
    given = {name: make() for name, make in parts.items() if f"{{{name}}}" in text}
    matrix = text.format(**given)
    if b.chance(0.25):
        lines = f"m = {matrix}.clone()\n{b.pick(*CHANGED).replace('{0}', 'm')}\n"
        return b.block(f"{lines}{{0}} = {v.name} @ m", ((o,), True))
    form = b.pick("{v} @ {m}", "F.linear({v}, {m}.t())", "torch.einsum('bi,io->bo', {v}, {m})",
                  "torch.addmm({v}.new_ones({o}), {v}, {m})", "torch.matmul({m}.t(), {v}.unsqueeze(-1)).squeeze(-1)",
                  "({v}.unsqueeze(-1) * {m}).sum(1)", "torch.mm({v}, {m})", "{v}.matmul({m})")  # fmt: skip
    b.emit(form.format(v=v.name, m=matrix, o=o), (o,))


def glu(b):
    v = b.vector(2)
    v = b.fitted(v, v.width // 2 * 2)
    half = v.width // 2
    text = b.pick("F.glu({v}, 1)", "{v}[:, :{h}] * torch.sigmoid({v}[:, {h}:])",
                  "torch.tanh({v}[:, {h}:]) * {v}[:, :{h}]")  # fmt: skip
    b.emit(text.format(v=v.name, h=half), (half,))


def scaled(b):
    v = b.vector()
    b.emit(f"{v.name} {b.pick('*', '+')} {b.parameter(v.width)}", v.shape)


def cut(b):
    v = b.vector(3)
    n = v.width
    start = b.dice.randint(0, n - 2)
    stop = b.dice.randint(start + 1, n)
    size = stop - start
    several = b.dice.sample(range(n), b.dice.randint(2, n))
    text, width = b.pick(
        (f"[:, {start}:{stop}]", size), (f".narrow(1, {start}, {size})", size), ("[:, ::2]", (n + 1) // 2),
        (f"[:, {several}]", len(several)), (f"[..., {start}:]", n - start), ("[:, 1:-1]", n - 2),
        (f".index_select(1, torch.tensor({several}))", len(several)), (f"[:, -{size}:]", size),
        (f".roll({size}, 1)", n), (f"[:, {start}:{start + 1}]", 1),
        (f".gather(1, torch.tensor({several}).expand(x.shape[0], -1))", len(several)),
    )  # fmt: skip
    b.emit(v.name + text, (width,), v.distinct)


def parts(b):
    """A value in several parts, of which each may be read."""
    v = b.vector(4)
    n = v.width
    sizes = b.pick([n // 2, n - n // 2], [1, n - 1], [n - 2, 1, 1], [2, n - 2])
    if n % 2 == 0 and b.chance(0.4):
        sizes = [n // 2] * 2
        text = b.pick("{0}, {1} = V.chunk(2, 1)", f"{{0}}, {{1}} = V.view(-1, 2, {n // 2}).unbind(1)")
    elif n % 2 == 0 and b.chance(0.2):
        sizes = [n // 2] * 2
        text = "{0}, {1} = V[:, ::2], V[:, 1::2]"
    else:
        text = f"{', '.join(f'{{{i}}}' for i in range(len(sizes)))} = V.split({sizes}, 1)"
    b.block(text.replace("V", v.name), *(((size,), v.distinct) for size in sizes))


def cat(b):
    values = [b.flat(b.any(0, 1, 2)) if b.chance(0.2) else b.vector() for _ in range(b.pick(2, 2, 3))]
    width = sum(v.width for v in values)
    if width > 20:
        return pair(b)
    distinct = all(v.distinct for v in values) and len({v.name for v in values}) == len(values)
    form = b.pick("torch.cat([{n}], 1)", "torch.cat([{n}], -1)", "torch.cat(({n}), dim=-1)", "torch.hstack([{n}])",
                  "torch.cat([{n}], 1).tanh()")  # fmt: skip
    b.emit(form.format(n=names(values)), (width,), distinct)


def product_of_cat(b):
    """A product of values side by side, of which one is a product itself, and columns of it."""
    u, w, width = b.vector(), b.vector(), b.pick(2, 4, 5)
    inner = b.emit(f"{b.linear(u.width, width)}({u.name})", (width,))
    if b.chance(0.4):
        inner = b.emit(f"{inner.name} + {b.fitted(b.vector(), width).name}", (width,))
    side = [w, inner]
    b.dice.shuffle(side)
    whole = b.emit(f"torch.cat([{names(side)}], 1)", (w.width + width,), w.distinct)
    if b.chance(0.4):
        start = b.dice.randint(0, whole.width - 1)
        whole = b.emit(f"{whole.name}[:, {start}:]", (whole.width - start,), w.distinct)
    out = b.pick(3, 4, 6)
    made = b.emit(f"{b.linear(whole.width, out)}({whole.name})", (out,))
    if b.chance(0.4):
        b.emit(f"{made.name}[:, 1:3]", (2,))


def heads(b):
    """A grid of features, and work along either of its dimensions."""
    v = b.grid(2)
    p, q = v.shape
    text, shape, distinct = b.pick(
        ("torch.softmax({v}, -1)", (p, q), True), ("torch.softmax({v}, 1)", (p, q), True),
        ("F.layer_norm({v}, (Q,), eps=0.1)", (p, q), q > 2), ("{v}.transpose(1, 2)", (q, p), v.distinct),
        ("{v}.permute(0, 2, 1).contiguous()", (q, p), v.distinct), ("{v}[:, 0]", (q,), v.distinct),
        ("{v}[:, :, -1]", (p,), v.distinct), ("{v}[:, [1, 0]]", (2, q), v.distinct),
        ("{v} - {v}.mean(1, keepdim=True)", (p, q), False), ("torch.einsum('bpq,bpq->bp', {v}, {v})", (p,), True),
        ("torch.bmm({v}, {v}.transpose(1, 2))", (p, p), False), ("{v}.sum((1, 2))", (), True),
        ("F.normalize({v} + 0.1, dim=-1)", (p, q), True), ("{v}.expand(-1, -1, -1) * {v}[:, :1]", (p, q), False),
        ("torch.einsum('bpq->bqp', {v})", (q, p), v.distinct), ("{v}.swapaxes(1, 2).reshape(-1, P * Q)", (p * q,), v.distinct),
        ("F.scaled_dot_product_attention({v}, torch.sin({v}), {v})", (p, q), False),
    )  # fmt: skip
    b.emit(text.format(v=v.name).replace("P", str(p)).replace("Q", str(q)), shape, distinct)


def outer(b):
    """Products of all features of one value with all of another."""
    u, w = b.vector(), b.vector()
    if u.width * w.width > 24:
        u, w = b.fitted(u, 3), b.fitted(w, 4)
    text = b.pick("{u}[:, :, None] * {w}[:, None]", "torch.einsum('bi,bj->bij', {u}, {w})",
                  "torch.bmm({u}.unsqueeze(2), {w}.unsqueeze(1))", "{u}.unsqueeze(-1) - torch.sin({w}.unsqueeze(-2))",
                  "{u}.unsqueeze(-1) @ {w}.unsqueeze(-2)")  # fmt: skip
    v = b.emit(text.format(u=u.name, w=w.name), (u.width, w.width), False)
    if b.chance(0.5):
        done, shape = b.pick(("softmax(-1).sum(1)", (w.width,)), ("sum(2).tanh()", (u.width,)),
                             ("flatten(1)", (u.width * w.width,)), ("mean(1)", (w.width,)),
                             ("tanh().logsumexp(1)", (w.width,)))  # fmt: skip
        b.emit(f"{v.name}.{done}", shape, False)


def contracted(b):
    """A product for each head, of two values or of one and parameters."""
    v = b.grid(2)
    p, q = v.shape
    form = b.pick("vector", "matrix", "mixture", "einsum", "bilinear")
    if form == "vector":
        w = b.fitted(b.vector(), q)
        text = b.pick(
            "torch.einsum('bpq,bq->bp', {v}, {w})", "({v} @ {w}.unsqueeze(-1)).squeeze(-1)",
            "({v} * {w}[:, None]).sum(-1)", "torch.bmm({v}, {w}[:, :, None])[:, :, 0]",
        )  # fmt: skip
        return b.emit(text.format(v=v.name, w=w.name), (p,))
    if form == "matrix":
        return b.emit(f"{b.linear(q, 3)}({v.name})", (p, 3), v.distinct)
    if form == "mixture":
        w = b.fitted(b.vector(), p)
        text = "torch.einsum('bpq,bp->bq', {v}, torch.softmax({w}, -1))"
        return b.emit(text.format(v=v.name, w=w.name), (q,))
    if form == "bilinear":
        w = b.fitted(b.vector(), 3)
        text = f"torch.einsum('bq,qrs,br->bs', {v.name}[:, 0], {b.parameter(q, 3, 2)}, {w.name})"
        return b.emit(text, (2,))
    b.emit(f"torch.einsum('bpq,pqr->bpr', {v.name}, {b.parameter(p, q, 2)})", (p, 2))


def convolution(b):
    v = b.vector(3)
    made = b.attribute("C", "self.{name} = nn.Conv1d(1, 2, 3, padding=1)")
    b.emit(f"{made}({v.name}[:, None])", (2, v.width))


def reduced(b):
    v = b.any(1, 2, least=2, distinct=True)
    if 1 in v.shape:
        return pair(b)
    text, apart = b.pick(*REDUCED)
    d = b.pick(-1, 1) if len(v.shape) == 1 else b.pick(1, 2, -1)
    keep = b.chance(0.6)
    i = len(v.shape) - 1 if d == -1 else d - 1
    shape = tuple(1 if j == i else n for j, n in enumerate(v.shape) if keep or j != i)
    b.emit(text.format(v=v.name, d=d, k=", keepdim=True" if keep else ""), shape)


def normed(b):
    v = b.vector(3, distinct=True)
    n = v.width
    module = "self.{name} = nn."
    text = b.pick(
        lambda: "torch.softmax({v}, -1)",
        lambda: "torch.log_softmax({v}, 1)",
        lambda: f"F.layer_norm({{v}}, ({n},), eps=0.1)",
        lambda: b.attribute("N", f"{module}LayerNorm({n}, eps=0.1)") + "({v})",
        lambda: b.attribute("N", f"{module}RMSNorm({n}, eps=0.1)") + "({v})",
        lambda: b.attribute("N", f"{module}GroupNorm(1, {n}, eps=0.1)") + "({v})",
        lambda: f"F.group_norm({{v}}, {n // 3 if n % 3 == 0 else 1}, eps=0.1)",
        lambda: "F.normalize({v}, dim=1)",
        lambda: "{v} / ({v}.norm(dim=-1, keepdim=True) + 0.5)",
        lambda: "{v} / {v}.exp().sum(-1, keepdim=True)",
        lambda: "{v} * torch.rsqrt({v}.square().mean(-1, keepdim=True) + 0.1)",
    )()
    b.emit(text.format(v=v.name), (n,))


def changed(b):
    """A fresh value, changed in place, some of it through views."""
    v = b.vector(3)
    n = v.width
    u = b.fitted(b.vector(), n)
    first = b.fitted(b.vector(), 2)
    fresh = b.pick("V.clone()", "V * 1.5", "torch.zeros_like(V)", f"V.new_zeros(x.shape[0], {n})",
                   f"torch.zeros(len(x), {n}, dtype=x.dtype)", f"V.new_full((x.size(0), {n}), 0.3)", "torch.sin(V)")  # fmt: skip
    lines = b.dice.sample(
        (
            "{0}.add_(U)", "{0} += U", "{0}.masked_fill_(U > 0.3, 0.1)", "{0}[:, :2] = F", "{0}[:, -2:] += F",
            "{0}[:, 1:3].copy_(F)", "part = {0}[:, 1:3]\npart.mul_(0.4)", "{0}[:, 0] = F[:, 1]",
            "{0}[:, [2, 0]] = F", "{0}[:, 1] = 0.4", "{0}.view(-1, 1, N)[:, 0, :2].sub_(F)", "{0}[U > 0.2] = 0.1",
            "{0}.unsqueeze(1).add_(U[:, None])", "{0}.t()[0].mul_(0.5)", "{0}[:, ::2] *= 0.5",
            "{0}.index_copy_(1, torch.tensor([2, 1]), F)", "{0}.index_add_(1, torch.tensor([0, 0]), F)",
            "{0}.scatter_(1, torch.tensor([[1, 2]]).expand(len(x), -1), F)", "{0}[..., -1:] -= U[..., :1]",
            "a1, a2 = {0}[:, :1], {0}[:, 1:]\na2.mul_(0.5)\na1.add_(F[:, :1])", "{0}.addcmul_(U, U, value=0.2)",
        ),
        b.pick(1, 1, 2, 3),
    )  # fmt: skip
    if b.chance(0.3):  # what needs the value it changes for its gradient comes last
        lines.append(b.pick("{0}.mul_(torch.sigmoid(U))", "{0}[:, 1:3].mul_(F)", "{0}.narrow(1, 0, 2).tanh_()"))
    text = "\n".join((f"{{0}} = {fresh}", *lines))
    text = re.sub(r"\bN\b", str(n), text).replace("V.", f"{v.name}.").replace("V ", f"{v.name} ")
    text = re.sub(r"\bV\b", v.name, text)
    text = re.sub(r"\bU\b", u.name, text)
    b.block(re.sub(r"\bF\b", first.name, text), ((n,), False))


def loop(b):
    """Steps within the step, with shared weights or one after the other of a list."""
    v = b.vector(2)
    n = v.width
    form = b.pick("shared", "list", "pointwise", "columns", "pairs")
    if form == "shared":
        text = f"for _ in range({b.pick(2, 3)}):\n    {{0}} = {{0}} + 0.3 * torch.tanh({b.linear(n, n)}({{0}}))"
    elif form == "list":
        made = b.attribute("L", f"self.{{name}} = nn.ModuleList(nn.Linear({n}, {n}) for _ in range({b.pick(2, 3)}))")
        text = f"for layer in {made}:\n    {{0}} = torch.tanh(layer({{0}})) + {{0}}"
    elif form == "pointwise":
        text = f"for i in range({b.pick(2, 4)}):\n    {{0}} = {{0}} + 0.1 * (i - torch.sin({{0}}))"
    elif form == "columns":
        text = f"total = 0\nfor i in range({n}):\n    total = total + V[:, i : i + 1] * (i + 0.5)\n{{0}} = torch.cat([total.tanh()] * {n}, 1) * {{0}}"
    else:
        u = b.fitted(b.vector(), n)
        text = f"{{1}} = {u.name}\nfor _ in range(2):\n    {{0}}, {{1}} = torch.tanh({b.linear(n, n)}({{1}})), {{0}} * 0.5 + {{1}}"
        return b.block(f"{{0}} = {v.name}\n{text}", ((n,), True), ((n,), True))
    b.block(f"{{0}} = {v.name}\n{text}".replace("V", v.name), ((n,), form != "columns"))


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
    text = b.pick(
        lambda: f"{b.attribute('rate', 'self.{name} = 0.7')} * V",
        lambda: f"V + {b.attribute('pair', 'self.{name} = (0.2, -0.6)')}[1]",
        lambda: f"V * {b.attribute('table', 'self.{name} = {chr(107): 0.4}')}['k']",
        lambda: f"V * {b.attribute('s', 'self.register_buffer(chr(34) * 0 + %r, torch.tensor(0.8))' % '{name}')}",
        lambda: f"V * {b.parameter(1)}",
    )()
    b.emit(re.sub(r"\bV\b", v.name, text), v.shape, v.distinct)


def detached(b):
    v = b.any(0, 1, 2)
    form = b.pick("V.detach()", "Bent.apply(V)", "V + (torch.sin(V) - V).detach()", "grad")
    if form == "grad":
        text = f"with torch.no_grad():\n    {{0}} = torch.tanh({v.name})"
        return b.block(text, (v.shape, v.distinct))
    b.emit(re.sub(r"\bV\b", v.name, form), v.shape, v.distinct)


def cast(b):
    v = b.any(0, 1, 2)
    text = b.pick("V.double()", "V.float().to(x.dtype)", "torch.tanh(V.float()).double()", "V.to(x)",
                  "V.type_as(x)", "V.to(torch.float64)", "torch.sin(V.double()).to(x.dtype)")  # fmt: skip
    b.emit(re.sub(r"\bV\b", v.name, text), v.shape, v.distinct)


def rows(b):
    """What a step does with the number of rows."""
    v = b.vector()
    text = b.pick(
        "V + V.new_ones(x.shape[0], N)", "V * torch.full((len(x), 1), 0.4, dtype=V.dtype)", "V.view(x.size(0), -1)",
        "V / x.shape[0]", "V * min(len(x), 4)", "V + 0.1 * torch.linspace(0, 1, N, dtype=x.dtype)",
        "V.reshape(len(V), N, 1).squeeze(2)", "V + torch.ones(N, dtype=x.dtype).expand(x.shape[0], N)",
        "torch.cat([V[:, :1] * 0 + 1, V], 1)[:, 1:]", "V.expand(x.shape[0], N)", "torch.zeros_like(V) + V",
    )  # fmt: skip
    text = re.sub(r"\bN\b", str(v.width), text)
    b.emit(re.sub(r"\bV\b", v.name, text), v.shape, v.distinct)


def repeated(b):
    v = b.vector()
    if v.width > 8:
        return pair(b)
    n = v.width
    text, width = b.pick(
        ("V[:, :1].expand(-1, 4)", 4), ("V.repeat(1, 2)", 2 * n), ("V.repeat_interleave(2, 1)", 2 * n),
        ("V.tile((1, 2))", 2 * n), ("F.pad(V, (1, 2))", n + 3), ("torch.stack([V, V.tanh()], 1).flatten(1)", 2 * n),
        ("torch.cat([V, V], 1)", 2 * n), ("V[:, [0, 0, -1]]", 3), ("torch.stack((V, V), -1).mean(-1)", n),
        ("F.pad(V, (0, 1), value=0.5)", n + 1),
    )  # fmt: skip
    b.emit(re.sub(r"\bV\b", v.name, text), (width,), False)


def scanned(b):
    v = b.vector(2)
    text = b.pick("V.cumsum(1)", "torch.tanh(V).cumprod(-1)", "torch.softmax(V, 1).cumsum(-1)",
                  "torch.fft.rfft(V, dim=1).real.sum(1, keepdim=True) + V", "torch.logcumsumexp(V, 1)",
                  "torch.view_as_real(torch.polar(torch.ones_like(V), V)).sum(-1)", "V.diff(dim=1, prepend=V[:, -1:])")  # fmt: skip
    b.emit(re.sub(r"\bV\b", v.name, text), v.shape, v.distinct)


ALL = {
    smooth: 0.9, kinked: 0.6, pair: 0.9, choice: 0.35, linear: 0.9, product: 0.4, glu: 0.4, scaled: 0.4,
    cut: 0.6, parts: 0.4, cat: 0.6, product_of_cat: 0.5, heads: 0.25, outer: 0.2, contracted: 0.2,
    convolution: 0.05, reduced: 0.5, normed: 0.4, changed: 0.3, loop: 0.3, flag: 0.2, number: 0.2,
    detached: 0.2, cast: 0.15, rows: 0.2, repeated: 0.3, scanned: 0.1,
}  # fmt: skip
"""Each with the share of cells that draw on it."""

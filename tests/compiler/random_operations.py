"""What random cells do with plain values; an operation adds statements to a cell in the making."""

SMOOTH = (
    "torch.tanh({v})", "torch.sigmoid({v})", "torch.sin({v})", "torch.cos({v})", "-{v}",
    "F.softplus({v})", "F.gelu({v})", "F.silu({v})", "F.mish({v})", "torch.atan({v})",
    "torch.erf({v})", "torch.exp(-{v} * {v})", "torch.log(1.5 + torch.sin({v}))",
    "torch.rsqrt(0.5 + {v} * {v})", "torch.sqrt(0.5 + {v} * {v})", "torch.tanh({v}) ** 3",
    "torch.expm1(-{v} * {v})", "F.logsigmoid({v})", "1 - {v}", "{v} / 2",
    "torch.tanh({v}).square()",
    "torch.reciprocal(1.5 + torch.sin({v}))", "torch.log1p(torch.sigmoid({v}))",
    "torch.sigmoid({v}).pow(1.5)",
    "{v}.contiguous().clone()", "F.gelu({v}, approximate='tanh')", "2.0 ** torch.tanh({v})",
    "torch.log2(1.5 + {v} * {v})", "torch.exp2(torch.tanh({v}))", "torch.asinh({v})",
    "torch.sinh(torch.tanh({v}))", "torch.erfc({v})", "torch.tan(torch.tanh({v}))",
)  # fmt: skip
KINKED = (
    "torch.relu({v})", "{v}.abs()", "{v}.clamp(-0.6, 0.8)", "{v}.clamp(min=-0.3)",
    "F.leaky_relu({v}, 0.1)",
    "F.elu({v})", "F.selu({v})", "F.hardtanh({v})", "{v} * ({v} > 0.1)",
    "torch.where({v} > 0, {v}, 0.2 * {v})",
    "({v} > 0.2).to({v}.dtype)", "torch.sign({v})", "F.softsign({v})",
    "torch.where(({v} > 0) & ({v} < 1), {v}, torch.tanh({v}))", "{v}.masked_fill({v} < -0.2, 0.5)",
)  # fmt: skip
PAIRS = (
    "{a} + {b}", "{a} - {b}", "torch.tanh({a}) * {b}", "torch.sigmoid({a}) * {b}",
    "{a} / (1.5 + torch.sin({b}))", "torch.lerp({a}, {b}, torch.sigmoid({a}))",
    "torch.addcmul({a}, torch.tanh({a}), {b}, value=0.5)",
    "torch.sqrt({a} * {a} + {b} * {b} + 0.2)",
    "torch.add({a}, {b}, alpha=0.3)", "torch.exp(-({a} - {b}).square())",
    "torch.logaddexp({a}, {b})", "torch.hypot(1 + {a} * {a}, {b})",
    "torch.atan2({a}, 1.5 + torch.sin({b}))",
)  # fmt: skip
CHOICES = (
    "torch.where({a} > {b}, 0.5 * {a}, {b})", "torch.maximum({a}, {b})",
    "torch.minimum({a}, 0.3 + {b})",
    "torch.where({a} < 0, {b}, torch.tanh({b}))", "{a} * ({b} > 0)",
    "({a} >= {b}).to({a}.dtype) * {b}",
    "torch.where(({a} > 0) | ({b} > 0), {a}, {b})", "{a}.clamp(max={b})",
)  # fmt: skip
MATRICES = (
    "{W}", "torch.tanh({W})", "({W} / {W}.norm())", "torch.softmax({W}, 0)",
    "F.normalize({W}, dim=0)",
    "({W} * {mask})", "torch.where({mask} > 0, {W}, 0.1)", "{T}.t()", "{T}.T.contiguous()",
    "({U} @ {V})", "({W} - {W}.mean(0))", "({W} * {g})", "{W}.detach()", "{W}[{rows}]",
    "({W} + {W}.flip(0))",
    "torch.cat([{W}[:1], torch.sin({W}[1:])])", "{W}.view(-1).view({i}, {o})",
    "torch.stack({W}.unbind(0))",
)  # fmt: skip
SQUARES = (
    "{W}.tril()", "{W}.triu(1)", "({W} - {W}.t())", "torch.linalg.matrix_exp({W} - {W}.t())",
    "({W} + torch.eye({i}, dtype=x.dtype))", "torch.diag({g})", "({W} @ {W})",
    "torch.linalg.qr({W})[0]",
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
        "W": lambda: b.parameter(i, o), "T": lambda: b.parameter(o, i),
        "U": lambda: b.parameter(i, 2),
        "V": lambda: b.parameter(2, o), "g": lambda: b.parameter(o),
        "mask": lambda: b.buffer((i, o)),
        "rows": lambda: str(b.dice.sample(range(i), i)), "i": lambda: str(i), "o": lambda: str(o),
    }  # fmt: skip
    arguments = {name: make() for name, make in parts.items() if f"{{{name}}}" in text}
    matrix = text.format(**arguments)
    if b.chance(0.25):
        fresh = f"m = {matrix}.clone(memory_format=torch.contiguous_format)"
        change = b.pick(*CHANGED).replace("{0}", "m")
        return b.block(f"{fresh}\n{change}\n{{0}} = {v.name} @ m", ((o,), True))
    form = b.pick("{v} @ {m}", "F.linear({v}, {m}.t())", "torch.einsum('bi,io->bo', {v}, {m})",
                  "torch.addmm({v}.new_ones({o}), {v}, {m})",
                  "torch.matmul({m}.t(), {v}.unsqueeze(-1)).squeeze(-1)",
                  "({v}.unsqueeze(-1) * {m}).sum(1)", "torch.mm({v}, {m})",
                  "{v}.matmul({m})")  # fmt: skip
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
        (f"[:, {start}:{stop}]", size), (f".narrow(1, {start}, {size})", size),
        ("[:, ::2]", (n + 1) // 2),
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
        text = b.pick(
            "{0}, {1} = V.chunk(2, 1)", f"{{0}}, {{1}} = V.view(-1, 2, {n // 2}).unbind(1)"
        )
    elif n % 2 == 0 and b.chance(0.2):
        sizes = [n // 2] * 2
        text = "{0}, {1} = V[:, ::2], V[:, 1::2]"
    else:
        text = f"{', '.join(f'{{{i}}}' for i in range(len(sizes)))} = V.split({sizes}, 1)"
    b.block(text.replace("V", v.name), *(((size,), v.distinct) for size in sizes))


def cat(b):
    values = [
        b.flat(b.any(0, 1, 2)) if b.chance(0.2) else b.vector() for _ in range(b.pick(2, 2, 3))
    ]
    width = sum(v.width for v in values)
    if width > 20:
        return pair(b)
    distinct = all(v.distinct for v in values) and len({v.name for v in values}) == len(values)
    form = b.pick("torch.cat([{n}], 1)", "torch.cat([{n}], -1)", "torch.cat(({n}), dim=-1)",
                  "torch.hstack([{n}])",
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
    if whole.width % 2 == 0 and b.chance(0.4):
        return b.emit(f"F.glu({whole.name}, 1)", (whole.width // 2,))
    out = b.pick(3, 4, 6)
    made = b.emit(f"{b.linear(whole.width, out)}({whole.name})", (out,))
    if b.chance(0.4):
        b.emit(f"{made.name}[:, 1:3]", (2,))


def moved(b):
    """A value seen in another shape, moved about there, and seen as it was."""
    v = b.vector(4)
    n = v.width // 2 * 2
    v = b.fitted(v, n)
    k = b.pick(*(k for k in range(2, n + 1) if n % k == 0))
    seen = f"{v.name}.view(-1, {k}, {n // k})"
    text, width = b.pick(
        (f"{seen}.transpose(1, 2).flatten(1)", n), (f"{seen}.flip(1).flatten(1)", n),
        (f"{seen}.sum(1)", n // k), (f"{seen}.mean(2)", k), (f"{seen}.softmax(1).flatten(1)", n),
        (f"({seen} - {seen}.mean(2, keepdim=True)).flatten(1)", n),
        (f"F.layer_norm({seen}, [{n // k}]).flatten(1)", n), (f"F.group_norm({v.name}, {k})", n),
        (f"({seen} * {b.parameter(k)}[:, None]).flatten(1)", n),
        (f"({seen} @ {b.parameter(n // k, 3)}).flatten(1)", 3 * k),
        (f"torch.einsum('bgi,gij->bgj', {seen}, {b.parameter(k, n // k, 2)}).flatten(1)", 2 * k),
        (f"torch.bmm({seen}, {seen}.mT).tanh().flatten(1)[:, :9]", min(9, k * k)),
        (f"{seen}.mT.unbind(2)[-1]", n // k), (f"torch.stack({seen}.unbind(1)).sum(0)", n // k),
        (f"{v.name}.cumsum(1)", n), (f"F.pad({v.name}, (1, 2))[:, 1:-1]", n + 1),
        (f"{v.name}[:, :2].repeat(1, 3)", 6),
    )  # fmt: skip
    b.emit(text, (width,), False)


def extreme(b):
    v = b.apart(b.vector(3))
    text = b.pick(
        "{v} - {v}.max(1, keepdim=True).values",
        "{v} * {v}.min(-1).values[:, None]",
        "torch.var_mean({v}, 1, keepdim=True)[0] * {v}",
        "torch.where(({v} > 0.3).any(1, keepdim=True), {v}, {v}.tanh())",
    )
    b.emit(text.format(v=v.name), v.shape, False)


SHARES = {
    smooth: 0.9, kinked: 0.6, pair: 0.9, choice: 0.35, linear: 0.9, product: 0.4, glu: 0.4,
    scaled: 0.4, cut: 0.6, parts: 0.4, cat: 0.6, product_of_cat: 0.5,
    moved: 0.5, extreme: 0.3,
}  # fmt: skip
"""Each with the share of cells that draw on it."""

"""What random cells do with two dimensions of features, and along one of them."""

from compiler.random_operations import pair

REDUCED = (
    "{v}.sum({d}{k})", "{v}.mean({d}{k})", "{v}.amax({d}{k})",
    "{v}.amin({d}{k})", "torch.logsumexp({v}, {d}{k})", "{v}.var({d}{k})",
    "torch.linalg.vector_norm({v} + 0.1, dim={d}{k})", "{v}.norm(dim={d}{k})",
    "{v}.max({d}{k}).values", "{v}.square().mean({d}{k}).sqrt()",
    "({v} - {v}.mean({d}, keepdim=True)).square().sum({d}{k})", "torch.tanh({v}).prod({d}{k})",
    "{v}.std({d}{k})",
)  # fmt: skip


def heads(b):
    """A grid of features, and work along either of its dimensions."""
    v = b.grid(2)
    p, q = v.shape
    text, shape, distinct = b.pick(
        ("torch.softmax({v}, -1)", (p, q), True), ("torch.softmax({v}, 1)", (p, q), True),
        ("F.layer_norm({v}, (Q,), eps=0.1)", (p, q), q > 2),
        ("{v}.transpose(1, 2)", (q, p), v.distinct),
        ("{v}.permute(0, 2, 1).contiguous()", (q, p), v.distinct), ("{v}[:, 0]", (q,), v.distinct),
        ("{v}[:, :, -1]", (p,), v.distinct), ("{v}[:, [1, 0]]", (2, q), v.distinct),
        ("{v} - {v}.mean(1, keepdim=True)", (p, q), False),
        ("torch.einsum('bpq,bpq->bp', {v}, {v})", (p,), True),
        ("torch.bmm({v}, {v}.transpose(1, 2))", (p, p), False), ("{v}.sum((1, 2))", (), True),
        ("F.normalize({v} + 0.1, dim=-1)", (p, q), True),
        ("{v}.expand(-1, -1, -1) * {v}[:, :1]", (p, q), False),
        ("torch.einsum('bpq->bqp', {v})", (q, p), v.distinct),
        ("{v}.swapaxes(1, 2).reshape(-1, P * Q)", (p * q,), v.distinct),
        ("F.scaled_dot_product_attention({v}, torch.sin({v}), {v})", (p, q), False),
    )  # fmt: skip
    b.emit(text.format(v=v.name).replace("P", str(p)).replace("Q", str(q)), shape, distinct)


def outer(b):
    """Products of all features of one value with all of another."""
    u, w = b.vector(), b.vector()
    if u.width * w.width > 24:
        u, w = b.fitted(u, 3), b.fitted(w, 4)
    text = b.pick("{u}[:, :, None] * {w}[:, None]", "torch.einsum('bi,bj->bij', {u}, {w})",
                  "torch.bmm({u}.unsqueeze(2), {w}.unsqueeze(1))",
                  "{u}.unsqueeze(-1) - torch.sin({w}.unsqueeze(-2))",
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
    text = b.pick(*REDUCED)
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
        lambda: "torch.tanh({v}).exp() / torch.tanh({v}).exp().sum(-1, keepdim=True)",
        lambda: "{v} * torch.rsqrt({v}.square().mean(-1, keepdim=True) + 0.1)",
    )()
    b.emit(text.format(v=v.name), (n,))


SHARES = {
    heads: 0.25, outer: 0.2, contracted: 0.2, convolution: 0.05, reduced: 0.5, normed: 0.4,
}  # fmt: skip
"""Each with the share of cells that draw on it."""

"""Vector quantisation beside its definition and another library, and what is known to go wrong."""

import copy

import pytest
import torch
from torch.nn import functional as F

from saiki.errors import InputError
from saiki.nn import VectorQuantizer
from saiki.nn.quantise.quantised import perplexity, usage

theirs = pytest.importorskip("vector_quantize_pytorch")


def vectors(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def pair(cosine=False, heads=1, rotation=False, gradient=False, **options):
    """Ours, and that of vector-quantize-pytorch with the same codes."""
    size, codes = 6, 11
    torch.manual_seed(1)
    ours = VectorQuantizer(
        size,
        codes,
        heads=heads,
        cosine=cosine,
        gradient="rotation" if rotation else "straight-through",
        learning="gradient" if gradient else "average",
        kmeans=False,
        revive=False,
        decay=0.8,
        commitment=0.7,
        **options,
    )
    other = theirs.VectorQuantize(
        size,
        codes,
        codebook_dim=size // heads,
        heads=heads,
        separate_codebook_per_head=heads > 1,
        use_cosine_sim=cosine,
        rotation_trick=rotation,
        decay=0.8,
        commitment_weight=0.7,
        learnable_codebook=gradient,
        ema_update=not gradient,
    )
    with torch.no_grad():
        other._codebook.embed.copy_(ours.stages[0].vectors)
        other._codebook.embed_avg.copy_(ours.stages[0].vectors)
    return ours.train(), other.train()


# The definition.


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("stages", [1, 2])
def test_each_vector_becomes_its_nearest_code(heads, stages):
    quantizer = VectorQuantizer(6, 7, heads=heads, stages=stages, kmeans=False).double().eval()
    z = vectors(4, 5, 6, dtype=torch.float64)
    y = quantizer(z)
    rest, wanted = z.reshape(20, heads, -1), torch.zeros(20, heads, 6 // heads).double()
    numbers = []
    for stage in quantizer.stages:
        residual = rest - wanted
        for head in range(heads):
            distance = (residual[:, None, head] - stage.vectors[head]).norm(dim=2)
            numbers.append(distance.argmin(1))
            wanted[:, head] += stage.vectors[head, numbers[-1]]
    assert torch.equal(y.codes, torch.stack(numbers, 1).view(4, 5, -1))
    assert torch.allclose(y.vectors, wanted.view(4, 5, 6), atol=1e-12)
    assert torch.allclose(quantizer.decode(y.codes), y.vectors, atol=1e-12)
    assert torch.equal(quantizer.encode(z), y.codes)
    assert y.counts.shape == (heads * stages, 7)
    assert torch.equal(y.counts[0], torch.bincount(y.codes[..., 0].flatten(), minlength=7))


def test_usage_and_perplexity():
    counts = torch.tensor([[4, 4, 0, 0], [1, 1, 1, 1]])
    assert usage(counts).item() == 0.75
    assert perplexity(counts).item() == pytest.approx(3)
    p = torch.tensor([0.5, 0.3, 0.2, 0.0])
    entropy = -sum(v * v.log() for v in p if v > 0)
    assert perplexity((p * 10)[None]).item() == pytest.approx(entropy.exp().item())
    assert perplexity(torch.zeros(1, 3)).item() == 1


def test_far_from_zero_no_digit_is_lost():
    quantizer = VectorQuantizer(4, 16, kmeans=False).eval()
    z = vectors(200, 4)
    near = quantizer.encode(z)
    with torch.no_grad():
        quantizer.stages[0].vectors += 2.0**14
    distance = torch.cdist(z.double(), quantizer.stages[0].vectors[0].double() - 2.0**14)
    chosen = quantizer.encode(z + 2.0**14)[:, 0]
    assert (chosen == near[:, 0]).double().mean() > 0.9
    best = distance.gather(1, chosen[:, None])[:, 0]
    assert (best <= distance.amin(1) + 0.02).all()


@pytest.mark.parametrize("learning", ["average", "gradient"])
def test_codes_of_a_mean_over_the_training_are_brought_to_length_1_again(learning):
    quantizer = VectorQuantizer(6, 7, cosine=True, learning=learning, kmeans=False).double().eval()
    z = vectors(40, 6, dtype=torch.float64)
    wanted = quantizer(z)
    with torch.no_grad():  # a mean of vectors of length 1 is shorter, one more than another
        quantizer.stages[0].vectors.mul_(torch.linspace(0.5, 1, 7)[:, None])
    y = quantizer(z)
    assert torch.equal(y.codes, wanted.codes)
    torch.testing.assert_close(y.vectors, wanted.vectors)


# Beside vector-quantize-pytorch.


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"heads": 3},
        {"cosine": True},
        {"cosine": True, "heads": 2},
        {"rotation": True},
        {"rotation": True, "heads": 2},
    ],
)
def test_vectors_codes_losses_gradients_and_averages_are_theirs(how):
    ours, other = pair(**how)
    for step in range(4):
        z = vectors(3, 9, 6, seed=step).requires_grad_()
        also = z.detach().clone().requires_grad_()
        y = ours(z)
        q, codes, loss = other(also)
        assert torch.equal(y.codes, codes.view(3, 9, -1))
        assert torch.allclose(y.vectors, q, atol=1e-6)
        assert torch.allclose(y.loss, loss, atol=1e-6)
        weights = vectors(3, 9, 6, seed=99)
        (y.vectors * weights).sum().add(y.loss).backward()
        (q * weights).sum().add(loss).backward()
        assert torch.allclose(z.grad, also.grad, atol=1e-5)
        assert torch.allclose(ours.stages[0].vectors, other._codebook.embed, atol=1e-5)
        assert torch.allclose(ours.stages[0].counts, other._codebook.cluster_size, atol=1e-5)


def test_a_codebook_by_gradient_has_the_gradient_of_theirs():
    ours, other = pair(gradient=True)
    z = vectors(3, 9, 6).requires_grad_()
    y = ours(z)
    y.loss.backward()
    # theirs lets the one term pull both ways, so that each goes by the same weight
    F.mse_loss(other._codebook.embed[0][y.codes[..., 0]], z.detach()).backward()
    assert torch.allclose(ours.stages[0].vectors.grad, other._codebook.embed.grad, atol=1e-6)
    assert torch.allclose(z.grad, 0.7 * 2 / z.numel() * (z - y.vectors).detach(), atol=1e-7)


# Gradients.


def test_straight_through_hands_the_gradient_on_as_it_is():
    quantizer = VectorQuantizer(6, 5, stages=3, kmeans=False)
    z, weights = vectors(8, 6).requires_grad_(), vectors(8, 6, seed=1)
    (quantizer(z).vectors * weights).sum().backward()
    assert torch.equal(z.grad, weights)


@pytest.mark.parametrize("stages", [1, 2])
def test_the_rotation_is_the_derivative_of_a_rotation_held_fast(stages):
    """R of the definition as a matrix: R ẑ = q̂, orthogonal, and the gradient is |q|/|z| Rᵀ g."""
    quantizer = VectorQuantizer(
        5, 6, gradient="rotation", commitment=0, kmeans=False, stages=stages
    ).double()
    z, g = vectors(7, 5, dtype=torch.float64).requires_grad_(), vectors(7, 5, seed=2).double()
    q = quantizer(z).vectors
    (q * g).sum().backward()
    for i in range(7):
        a, b = z[i].detach(), q[i].detach()
        w = F.normalize(F.normalize(a, dim=0) + F.normalize(b, dim=0), dim=0)
        eye = torch.eye(5).double()
        flip = eye - 2 * torch.outer(w, w)
        R = flip + 2 * torch.outer(F.normalize(b, dim=0), F.normalize(a, dim=0))
        assert torch.allclose(R @ R.T, eye, atol=1e-12)
        assert torch.linalg.det(R) == pytest.approx(1)
        assert torch.allclose(b.norm() / a.norm() * R @ a, b, atol=1e-12)
        assert torch.allclose(z.grad[i], b.norm() / a.norm() * R.T @ g[i], atol=1e-12)


def test_the_rotation_of_nothing_and_of_the_opposite_is_finite():
    quantizer = VectorQuantizer(2, 1, gradient="rotation", kmeans=False)
    with torch.no_grad():
        quantizer.stages[0].vectors.copy_(torch.tensor([1.0, 0.0]))
    z = torch.tensor([[0.0, 0.0], [-3.0, 0.0]], requires_grad=True)
    y = quantizer.eval()(z)
    assert torch.equal(y.vectors, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    y.vectors.sum().backward()
    assert torch.isfinite(z.grad).all()


# What is known to go wrong.


def test_the_commitment_loss_is_of_what_came_in():
    """After the straight-through both would be the same, and the loss and its gradient 0."""
    quantizer = VectorQuantizer(3, 4, commitment=0.5, kmeans=False).eval()
    z = vectors(10, 3).requires_grad_()
    y = quantizer(z)
    assert y.loss.item() == pytest.approx(0.5 * F.mse_loss(z, y.vectors).item())
    assert y.loss > 0.01
    y.loss.backward()
    assert torch.allclose(z.grad, 0.5 * 2 / 30 * (z - y.vectors).detach(), atol=1e-7)


def test_codes_and_vectors_are_those_of_one_codebook():
    """Not numbers from before an update, or before the centres were found, with what is after."""
    quantizer = VectorQuantizer(3, 8, decay=0.1)
    z = vectors(64, 3)
    first = quantizer(z)
    for seed in range(1, 4):
        before = copy.deepcopy(quantizer).eval()
        more = vectors(64, 3, seed=seed)
        y = quantizer(more)
        assert torch.equal(y.codes, before.encode(more))
        assert torch.equal(y.vectors, before.decode(y.codes))
        assert not torch.equal(quantizer.stages[0].vectors, before.stages[0].vectors)
    for centre in range(8):  # of the first batch, each is the mean of those it was given for
        mine = z[first.codes[:, 0] == centre]
        assert F.mse_loss(first.vectors[first.codes[:, 0] == centre], mine) < 2


def test_under_averages_no_gradient_reaches_the_codebook():
    quantizer = VectorQuantizer(3, 4, heads=3, stages=2)
    assert list(quantizer.parameters()) == []
    z = vectors(10, 3).requires_grad_()
    y = quantizer(z)
    (y.vectors.sum() + y.loss).backward()
    assert all(not v.requires_grad and v.grad is None for v in quantizer.buffers())


def test_the_decoder_pulls_no_codes_and_the_commitment_neither():
    """By gradient they follow their own term alone."""
    quantizer = VectorQuantizer(3, 4, learning="gradient", commitment=5.0, kmeans=False)
    z = vectors(10, 3)
    y = quantizer(z)
    y.vectors.sum().add(y.loss).backward()
    one_hot = F.one_hot(y.codes[:, 0], 4).float()
    codes = quantizer.stages[0].vectors
    wanted = 2 / 30 * (one_hot.sum(0)[:, None] * codes[0] - one_hot.T @ z).detach()
    assert torch.allclose(codes.grad[0], wanted, atol=1e-6)


@pytest.mark.parametrize("learning", ["average", "gradient"])
def test_evaluation_changes_nothing(learning):
    quantizer = VectorQuantizer(3, 50, learning=learning, stages=2).eval()
    before = copy.deepcopy(quantizer.state_dict())
    for seed in range(3):
        quantizer(vectors(20, 3, seed=seed))
        quantizer.encode(vectors(20, 3, seed=seed))
    assert all(torch.equal(before[n], v) for n, v in quantizer.state_dict().items())


def test_mixed_precision_stays_out_of_the_distances():
    quantizer = VectorQuantizer(16, 256, kmeans=False).eval()
    z = vectors(500, 16)
    y = quantizer(z)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = quantizer(z)
        assert torch.equal(quantizer.encode(z), y.codes)
    assert torch.equal(mixed.codes, y.codes)
    assert torch.equal(mixed.vectors, y.vectors)
    half = quantizer(z.bfloat16())
    assert half.vectors.dtype == torch.bfloat16
    assert torch.equal(half.codes, quantizer(z.bfloat16().float()).codes)


def test_numbers_that_are_none_leave_the_codes_as_they_were():
    for learning in ("average", "gradient"):
        quantizer = VectorQuantizer(3, 4, learning=learning)
        quantizer(vectors(30, 3))
        before = quantizer.stages[0].vectors.clone()
        quantizer(torch.full((30, 3), torch.nan))
        assert torch.equal(quantizer.stages[0].vectors, before)


# What codes begin as, and dead ones.


def test_codes_begin_as_the_centres_of_the_first_batch():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    z = (centres[:, None] + 0.1 * vectors(3, 40, 2)).flatten(0, 1)
    for seed in range(5):
        torch.manual_seed(seed)
        quantizer = VectorQuantizer(2, 12)
        y = quantizer(z)
        assert F.mse_loss(y.vectors, z) < 0.01
        assert y.usage > 0.7
    few = VectorQuantizer(2, 8)
    assert F.mse_loss(few(z[:3]).vectors, z[:3]) < 1e-6  # fewer vectors than codes


@pytest.mark.parametrize("learning", ["average", "gradient"])
@pytest.mark.parametrize("cosine", [False, True])
def test_codes_that_are_never_given_begin_anew_among_the_vectors(learning, cosine):
    def used(revive):
        torch.manual_seed(0)
        options = {"learning": learning, "cosine": cosine, "revive": revive, "kmeans": False}
        quantizer = VectorQuantizer(2, 32, decay=0.5, **options)
        with torch.no_grad():  # all but one far away
            quantizer.stages[0].vectors[:, 1:] = -torch.tensor([100.0, 90.0])
            quantizer.stages[0].sums.copy_(quantizer.stages[0].vectors)
        z = vectors(300, 2).abs() + 1
        for _ in range(10):
            y = quantizer(z)
            y.loss.requires_grad_().backward()
        return quantizer.eval()(z).usage

    assert used(False) < 0.1
    assert used(True) > 0.6


def test_the_same_seed_revives_the_same():
    def run(seed):
        torch.manual_seed(seed)
        quantizer = VectorQuantizer(2, 64, decay=0.3)
        for step in range(6):
            torch.rand(step)  # whatever else is drawn
            quantizer(vectors(40, 2, seed=step))
        return quantizer.stages[0].vectors

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


# Mistakes.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 5, "codes": 4, "heads": 2}, "heads must divide the 5 features"),
        ({"size": 4, "codes": 0}, "codes and stages must be 1 or more"),
        ({"size": 4, "codes": 4, "cosine": True, "stages": 2}, "give cosine or stages"),
        ({"size": 4, "codes": 4, "learning": "magic"}, "learning must be one of average, gradient"),
        ({"size": 4, "codes": 4, "gradient": "magic"}, "gradient must be one of straight-through"),
        ({"size": 4, "codes": 4, "decay": 1.0}, "decay must be from 0 to below 1"),
    ],
)
def test_what_is_not_allowed_is_said(options, message):
    with pytest.raises(InputError, match=message):
        VectorQuantizer(**options)


def test_vectors_of_another_size_are_refused():
    with pytest.raises(InputError, match=r"must have 4 features, got \(2, 5\)"):
        VectorQuantizer(4, 3)(torch.zeros(2, 5))


def test_it_is_saved_and_made_again(tmp_path):
    import saiki

    quantizer = VectorQuantizer(4, 5, heads=2, stages=2)
    quantizer(vectors(20, 4))
    quantizer.save_pretrained(tmp_path)
    loaded = saiki.load(tmp_path)
    z = vectors(6, 4, seed=3)
    assert torch.equal(loaded.encode(z), quantizer.eval().encode(z))

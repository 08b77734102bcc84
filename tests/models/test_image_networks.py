import pytest
import torch

from saiki.errors import InputError
from saiki.models import image_networks as networks
from saiki.saving.description import describe, make

SHAPES = [(1, 28, 28), (3, 17, 30), (4, 1, 1), (2, 9, 1), (1, 65, 31)]


@pytest.mark.parametrize("kind", networks.ENCODERS)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_image_of_any_shape_becomes_numbers_and_numbers_become_such_an_image(kind, shape):
    x = torch.rand(2, *shape)
    reads, writes = networks.encoder(shape, 5, kind, 8), networks.decoder(shape, 5, kind, 8)
    z = reads(x)
    y = writes(z)
    assert (z.shape, y.shape) == ((2, 5), x.shape)
    y.square().sum().backward()
    for module in (reads, writes):
        assert all(p.grad is not None for p in module.parameters())


@pytest.mark.parametrize("halvings", range(5))
@pytest.mark.parametrize("shape", SHAPES)
def test_features_are_halved_images_and_lead_back(shape, halvings):
    x = torch.rand(2, *shape)
    z = networks.features(shape, 12, halvings)(x)
    assert z.shape == (2, *networks.features_shape(shape, 12, halvings))
    assert networks.from_features(shape, 12, halvings)(z).shape == x.shape


def test_sides_are_halved_until_the_longer_one_is_short():
    sides = [1, 8, 9, 28, 32, 33, 64, 100]
    halvings = [networks.halvings_of((1, side, 3)) for side in sides]
    assert halvings == [0, 0, 1, 2, 2, 3, 3, 4]


def test_every_pixel_depends_on_the_numbers_also_at_the_edge_of_an_odd_image():
    torch.manual_seed(0)
    z = torch.rand(1, 3, requires_grad=True)
    y = networks.decoder((1, 13, 11), 3, width=8)(z)
    for row, column in ((0, 0), (12, 10), (12, 0), (6, 5)):
        [slope] = torch.autograd.grad(y[0, 0, row, column], z, retain_graph=True)
        assert slope.abs().sum() > 0


@pytest.mark.parametrize("kind", networks.ENCODERS)
def test_networks_are_made_again_from_their_description(kind):
    for module in (networks.encoder((3, 9, 5), 4, kind, 8), networks.decoder((3, 9, 5), 4, kind)):
        restored = make(describe(module))
        assert str(restored) == str(module)


@pytest.mark.parametrize("kind", networks.ENCODERS)
def test_images_of_another_shape_are_refused(kind):
    reads = networks.encoder((3, 9, 5), 4, kind, 8)
    for x in (torch.zeros(2, 3, 5, 9), torch.zeros(3, 9, 5)):
        with pytest.raises(InputError, match=r"reads images \(batch, 3, 9, 5\), got a tensor"):
            reads(x)


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="convolutional, fully-connected, got 'dense'"):
        networks.encoder((1, 8, 8), 2, "dense")

"""What the tests of layers begin with."""

import pytest


@pytest.fixture(autouse=True)
def short_sequences_go_through_kernels(request, monkeypatch):
    """Examples are small, and PyTorch's own loops are as fast there; kernels are what is tested."""
    if request.path.name != "test_short.py":
        monkeypatch.setattr("saiki.nn.drop_in.layers.is_short", lambda *sizes: False)

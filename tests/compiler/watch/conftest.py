"""What is watched is the same on all backends."""

import pytest


@pytest.fixture(autouse=True)
def programs_run_on_numpy(interpreter):
    """So that nothing has to be compiled."""

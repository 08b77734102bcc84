"""What every test begins with."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread_and_one_seed():
    """Tests run side by side, so each keeps to one thread; and its numbers are always the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)

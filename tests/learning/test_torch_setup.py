"""How a process is set up for torch."""

import torch

from e2hil_rllib.learning.torch_setup import set_up_torch


def test_threads_are_set_and_memory_is_not_filled():
    before = torch.get_num_threads()
    try:
        torch.use_deterministic_algorithms(True)
        set_up_torch(1)
        assert torch.get_num_threads() == 1
        assert torch.utils.deterministic.fill_uninitialized_memory is False
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_num_threads(before)

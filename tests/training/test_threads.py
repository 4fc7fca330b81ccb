"""Small steps run on one thread, large ones on all, and nothing is left behind."""

import pytest
import torch

from dbpt.training.loop import SMALL_STEP, one_thread_if_small


@pytest.mark.parametrize(("multiply_adds", "threads"), [(SMALL_STEP - 1, 1), (SMALL_STEP, 3)])
def test_only_small_steps_run_on_one_thread(multiply_adds, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(RuntimeError), one_thread_if_small(multiply_adds):
            assert torch.get_num_threads() == threads
            raise RuntimeError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)

"""Training on several ranks: the losses, weights and best epoch of one process with the same global batches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_training
from launched import launch
from safetensors.numpy import load_file, save_file
from toy_training import RUNS, SETTINGS, run

from dbpt.training import Trained
from dbpt.training.process_group import joined_ranks

FEW_STEPS = replace(SETTINGS, batch_size=46, epochs=3)
CHOICES = [
    *((FEW_STEPS, choice) for choice in RUNS),
    (replace(FEW_STEPS, batch_size=89), {"objective": "groupdro"}),  # the last batch has one row
    (replace(FEW_STEPS, batch_size=0, optimizer="adamw"), {"objective": "groupdro"}),
]
OF_THREE = CHOICES[::4] + CHOICES[-2:]


def content(trained: Trained) -> dict[str, np.ndarray]:
    history = trained.history
    found = {
        "loss": np.array([record.loss for record in history]),
        "validation": np.array([(record.val_wgp, record.val_wga, record.val_average) for record in history]),
        "selected": np.array([trained.best_epoch]),
        **{name: value.numpy() for name, value in trained.head_state.items()},
    }
    for name in ("group_weights", "mean_p_true"):
        if getattr(history[0], name) is not None:
            found[name] = np.array([getattr(record, name) for record in history], dtype=np.float64)
    return found


def train_all(rank, folder, choices):
    if rank:  # what the others would begin with does not count
        toy_training.linear_head = lambda outputs=2: torch.nn.Linear(6, outputs)
    for number, (settings, choice) in enumerate(choices):
        with joined_ranks("cpu") as ranks:  # each time anew, as in a script that fits more than once
            save_file(content(run(settings, **choice, ranks=ranks)), folder / f"{number}-{rank}")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folders with what each number of ranks has found."""

    def train(choices, count: int) -> Path:
        folder = tmp_path_factory.mktemp("ranks")
        launched = launch(folder, count, train_all, folder, choices)
        assert launched.codes() == [0] * count, launched.printed("err")
        return folder

    return {2: train(CHOICES, 2), 3: train(OF_THREE, 3)}


CASES = [(count, number) for count, choices in ((2, CHOICES), (3, OF_THREE)) for number in range(len(choices))]


@pytest.mark.parametrize(("count", "number"), CASES)
def test_ranks_train_as_one_process_with_the_same_global_batch(trained, count, number):
    settings, choice = (CHOICES if count == 2 else OF_THREE)[number]
    expected = content(run(settings, **choice))
    found = load_file(trained[count] / f"{number}-0")
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    for rank in range(1, count):
        assert (trained[count] / f"{number}-{rank}").read_bytes() == (trained[count] / f"{number}-0").read_bytes()

"""Training on several ranks: the losses, weights and kept epoch of one process with the same global batches."""

from dataclasses import replace

import numpy as np
import pytest
from launched import launch
from safetensors.numpy import load_file, save_file
from test_training import RUNS, SETTINGS, run

from dbpt.ranks import joined_ranks
from dbpt.training import Trained

CHOICES = [
    *((SETTINGS, choice) for choice in RUNS),
    (replace(SETTINGS, batch_size=89), {"objective": "dbpt", "cadence": "step"}),  # the last batch has one row
    (replace(SETTINGS, batch_size=90), {"objective": "groupdro"}),
]


def content(trained: Trained) -> dict[str, np.ndarray]:
    history = trained.history
    found = {
        "loss": np.array([record.loss for record in history]),
        "validation": np.array([(record.val_wga, record.val_average) for record in history]),
        "selected": np.array([trained.selected_epoch]),
        **{name: value.numpy() for name, value in trained.head_state.items()},
    }
    for name in ("group_weights", "mean_p_true"):
        if getattr(history[0], name) is not None:
            found[name] = np.array([getattr(record, name) for record in history], dtype=np.float64)
    return found


def train_all(rank, folder):
    with joined_ranks("cpu") as ranks:
        for number, (settings, choice) in enumerate(CHOICES):
            save_file(content(run(settings, **choice, ranks=ranks)), folder / f"{number}-{rank}")


@pytest.fixture(scope="module", params=[2, 3])
def trained(request, tmp_path_factory):
    """Folder in which each rank has left what it found, and the number of ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    launched = launch(folder, request.param, train_all, folder)
    assert launched.codes() == [0] * request.param, launched.printed("err")
    return folder, request.param


@pytest.mark.parametrize("number", range(len(CHOICES)))
def test_ranks_train_as_one_process_with_the_same_global_batch(trained, number):
    folder, count = trained
    settings, choice = CHOICES[number]
    expected = content(run(settings, **choice))
    found = load_file(folder / f"{number}-0")
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    for rank in range(1, count):
        assert (folder / f"{number}-{rank}").read_bytes() == (folder / f"{number}-0").read_bytes()

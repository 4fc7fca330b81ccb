"""Training at a scale beyond the literature's: 300,000 rows, 1,000 groups, an epoch of each objective.

In a process of its own, whose memory is measured.
"""

import json
import subprocess
import sys

import pytest

from dbpt.objectives import OBJECTIVES

ROWS, WIDTH, CLASSES, ATTRIBUTES = 300_000, 64, 10, 100
FEATURES_MB = ROWS * WIDTH * 4 / 1e6

SCRIPT = f"""
import json, resource, sys
import numpy as np, torch
from dbpt.heads import AdapterHead, LinearHead
from dbpt.objectives import OBJECTIVES, TrainingGroups
from dbpt.training import Rows, TrainingSettings, train

torch.set_num_threads(1)
rows, width, classes, attributes = {ROWS}, {WIDTH}, {CLASSES}, {ATTRIBUTES}
draws = np.random.default_rng(0)


def made_up(number):
    labels = draws.integers(0, classes, number)
    seen = np.minimum(draws.geometric(0.05, number) - 1, attributes - 1)  # large groups and small ones
    features = draws.standard_normal((number, width), dtype=np.float32)
    features[np.arange(number), labels] += 3
    features /= np.sqrt(np.einsum("nd,nd->n", features, features))[:, None]  # without a copy: the peak counts
    return Rows(features, labels, labels * attributes + seen)


training, validation = made_up(rows), made_up(rows // 10)
values = dict(eta=1.0, ema_momentum=0.5, dro_step_size=0.01,
              identification_epochs=1, up_weight=20.0, min_group_count=10, max_weight=100,
              epochs=1, afr_gamma=4.0, afr_pull=0.01)
settings = TrainingSettings(epochs=1, batch_size=4096, optimizer="sgd", lr=0.1, sgd_momentum=0.9, weight_decay=5e-4,
                            warmup_epochs=0, model_selection="pseudo-wga", seed=0)
zero_shot = torch.eye(classes, width)
heads = {{
    "linear": lambda: LinearHead(zero_shot, logit_scale=10.0),
    "adapter": lambda: AdapterHead(zero_shot, logit_scale=10.0, logit_bias=0.0, seed=0),
}}
groups = TrainingGroups(training.groups, training.labels, classes, classes * attributes)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
before, found = peak(), {{}}
for head, name, apply in json.loads(sys.argv[1]):
    objective = OBJECTIVES[name]
    built = objective(groups, apply=apply, **{{key: values[key] for key in objective.settings}})
    trained = train(heads[head](), built, training, validation, settings)
    found[f"{{head}} {{name}} {{apply}}"] = [peak() - before, trained.history[-1].val_average]
print(json.dumps(found))
"""


FEW = [("linear", "groupdro", "loss"), ("linear", "jtt", "sampling"), ("adapter", "dbpt", "loss")]
FOR_LINEAR = {name: each for name, each in OBJECTIVES.items() if each.heads is None or "linear" in each.heads}
ALL = [("linear", name, "loss") for name, objective in FOR_LINEAR.items() if not objective.refits]
ALL += [("linear", name, "sampling") for name, objective in FOR_LINEAR.items() if objective.can_sample]


@pytest.mark.full
@pytest.mark.skipif(sys.platform == "win32", reason="has no resource module")
@pytest.mark.parametrize("choices", [FEW, ALL], ids=["few", "all"])
def test_objectives_take_many_rows_and_groups_in_little_memory(choices):
    command = [sys.executable, "-c", SCRIPT, json.dumps(choices)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == len(choices)
    for choice, (peak_mb, average) in found.items():
        assert peak_mb < 1.3 * FEATURES_MB, choice  # no pass makes anything of all rows at once that is as wide as they
        assert average > 0.85, choice

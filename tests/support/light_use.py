"""A script that uses everything that needs NumPy alone: samplers, group weights, metrics and guesses.

`tests/test_imports.py` runs it with every other import blocked, `.ci/packages.py` in an environment with NumPy alone.
"""

import numpy as np

import dbpt

classes, attributes = np.arange(1000) % 2, np.arange(1000) % 10 // 8
groups = 2 * classes + attributes
rows = list(dbpt.GroupSampler(groups, seed=0))
assert np.bincount(groups[rows]).tolist() == [250, 250, 250, 250]
assert len(list(dbpt.GroupBatchSampler(groups, batch_size=50))) == 20
assert len(list(dbpt.WeightedSampler(dbpt.sample_weights(groups), num_samples=10, seed=0))) == 10

for weighting in (dbpt.GroupWeights(np.bincount(groups), eta=1.0, momentum=0.5), dbpt.GroupDRO(np.bincount(groups))):
    assert weighting.group_weights.shape == (4,)

metrics = dbpt.group_metrics(classes, classes, attributes, num_classes=2, num_attributes=2)
assert metrics.worst_group_accuracy == 1
logits = np.where(np.arange(2) == attributes[:, None], 3.0, 0.0).astype(np.float32)
guesses = dbpt.label_attributes(logits)
quality = dbpt.pseudo_attribute_quality(guesses.pseudo_attributes, attributes, classes, num_classes=2, num_attributes=2)
assert quality.accuracy == 1

"""A script that uses everything that needs few packages: samplers, group weights, metrics and guesses.

`tests/test_imports.py` runs it with every other import blocked, `.ci/packages.py` in an environment with few packages.
"""

import pickle

import numpy as np

import dbpt

classes, attributes = np.arange(1000) % 2, np.arange(1000) % 10 // 8
groups = 2 * classes + attributes
rows, batches = dbpt.GroupSampler(groups, seed=0), dbpt.GroupBatchSampler(groups, batch_size=50)
assert np.bincount(groups[list(rows)]).tolist() == [250, 250, 250, 250]
weighted = dbpt.WeightedSampler(dbpt.sample_weights(groups), num_samples=10, seed=0)
assert (len(list(batches)), len(list(weighted))) == (20, 10)
for sampler in (rows, batches, weighted):
    again = pickle.loads(pickle.dumps(sampler))
    again.load_state_dict(sampler.state_dict())
    assert list(again) == list(sampler)
seeds = []
for _ in range(2):
    np.random.seed(1)
    seeds.append([dbpt.GroupSampler(groups, seed=None).seed for _ in range(2)])
assert seeds[0] == seeds[1] and len(set(seeds[0])) == 2

for weighting in (dbpt.GroupWeights(np.bincount(groups), eta=1.0, momentum=0.5), dbpt.GroupDRO(np.bincount(groups))):
    assert weighting.group_weights.shape == (4,)

metrics = dbpt.group_metrics(
    predictions=classes, labels=classes, attributes=attributes, num_classes=2, num_attributes=2
)
assert metrics.worst_group_accuracy == 1
logits = np.where(np.arange(2) == attributes[:, None], 3.0, 0.0).astype(np.float32)
guesses = dbpt.label_attributes(logits)
quality = dbpt.pseudo_attribute_quality(guesses.pseudo_attributes, attributes, classes, num_classes=2, num_attributes=2)
assert quality.accuracy == 1

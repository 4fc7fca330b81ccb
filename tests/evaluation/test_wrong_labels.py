"""Label quality on simulated labels, with wrong ones in common and rare groups, against the score that others use."""

import numpy as np
import pytest
from scipy.special import softmax

from dbpt.errors import InputError
from dbpt.evaluation import label_quality, wrong_labels


def simulated(num_classes, share, *, rare, seed, n=2000, noise=1.3):
    """Labels, of which a share is wrong, and two sources: a classifier that relies on the attribute, and a fair one."""
    random = np.random.default_rng(seed)
    true = random.integers(0, num_classes, n)
    is_rare = random.random(n) < rare
    attributes = np.where(is_rare, (true + random.integers(1, num_classes, n)) % num_classes, true)
    is_wrong = random.random(n) < share
    labels = np.where(is_wrong, (true + random.integers(1, num_classes, n)) % num_classes, true)
    classes = np.arange(num_classes)
    biased, fair = (
        softmax(
            3 * (classes == true[:, None])
            + strength * (classes == attributes[:, None])
            + random.normal(0, noise, (n, num_classes)),
            axis=1,
        )
        for strength in (2, 0.5)
    )
    return labels, attributes, is_wrong, is_rare, (biased, fair)


@pytest.mark.parametrize(("num_classes", "share"), [(2, 0.01), (2, 0.05), (3, 0.05), (4, 0.1)])
def test_false_alarms_in_rare_groups_are_halved_and_wrong_labels_are_still_found(num_classes, share):
    """At the length of the number of wrong labels, against the probability of the label (cleanlab's score)."""
    of_all = np.zeros((2, 2))  # wrong labels found and correct rare ones listed, by the plain score and by ours
    for seed in range(20):
        labels, attributes, is_wrong, is_rare, sources = simulated(num_classes, share, rare=0.05, seed=seed)
        plain = sources[0][np.arange(len(labels)), labels]
        for row, score in enumerate((plain, label_quality(labels, attributes, *sources).quality)):
            listed = np.argsort(score)[: is_wrong.sum()]
            of_all[row] += is_wrong[listed].sum(), (is_rare & ~is_wrong)[listed].sum()
    assert of_all[0, 1] >= 20  # the plain score calls many of them wrong
    assert of_all[1, 1] <= of_all[0, 1] / 2
    assert of_all[1, 0] >= 0.9 * of_all[0, 0]


def test_a_score_within_the_group_alone_hides_what_this_one_finds():
    labels, attributes, is_wrong, _, sources = simulated(2, 0.1, rare=0.05, seed=0)
    quality = label_quality(labels, attributes, *sources).quality
    within = np.empty(len(labels))
    for group in np.unique(groups := labels * 2 + attributes):
        members = np.flatnonzero(groups == group)
        within[members] = sources[0][members, labels[members]].argsort().argsort() / len(members)
    found, found_within = (is_wrong[np.argsort(score)[: is_wrong.sum()]].sum() for score in (quality, within))
    assert found > 1.5 * found_within


@pytest.mark.parametrize("num_classes", [2, 3])
def test_most_labels_that_are_called_wrong_are_wrong_and_the_class_is_the_true_one(num_classes):
    labels, attributes, is_wrong, _, sources = simulated(num_classes, 0.1, rare=0.1, seed=1)
    found = label_quality(labels, attributes, *sources)
    called = found.likeliest != labels
    assert is_wrong[called].mean() > 0.6 and called[is_wrong].mean() > 0.7
    true = np.where(is_wrong, sources[1].argmax(axis=1), labels)
    assert (found.likeliest[called & is_wrong] == true[called & is_wrong]).mean() > 0.8


def test_sources_that_know_nothing_call_no_label_wrong():
    labels, attributes, _, _, (source, _) = simulated(2, 0.05, rare=0.05, seed=2)
    shuffled = np.random.default_rng(0).permutation(source)
    assert (label_quality(labels, attributes, shuffled).likeliest == labels).all()


def test_a_source_that_knows_nothing_hardly_changes_the_result():
    labels, attributes, is_wrong, _, (source, _) = simulated(2, 0.05, rare=0.05, seed=3)
    shuffled = np.random.default_rng(0).permutation(source)
    one, two = (label_quality(labels, attributes, *sources).quality for sources in ((source,), (source, shuffled)))
    lists = [set(np.argsort(quality)[: is_wrong.sum()].tolist()) for quality in (one, two)]
    assert len(lists[0] & lists[1]) > 0.9 * is_wrong.sum()


def test_a_fit_to_some_images_of_each_group_is_near_that_to_all(monkeypatch):
    labels, attributes, _, _, sources = simulated(2, 0.05, rare=0.05, seed=4, n=20_000)
    quality = label_quality(labels, attributes, *sources).quality
    monkeypatch.setattr(wrong_labels, "MOST_FITTED", 10**9)
    monkeypatch.setattr(wrong_labels, "BLOCK_NUMBERS", 999)
    assert np.abs(quality - label_quality(labels, attributes, *sources).quality).max() < 0.05


def test_many_classes_and_images_need_little_memory(monkeypatch):
    """The fit takes fewer images of each group, so that its probabilities are bounded."""
    monkeypatch.setattr(wrong_labels, "MOST_NUMBERS", 40_000)
    labels, attributes, is_wrong, _, sources = simulated(10, 0.05, rare=0.05, seed=5, n=4000)
    seen = []
    logarithms = wrong_labels._logarithms
    monkeypatch.setattr(wrong_labels, "_logarithms", lambda *args: seen.append(logarithms(*args)) or seen[-1])
    quality = label_quality(labels, attributes, *sources).quality
    assert max(part.size for part in seen[:1]) <= 40_000 < sources[0].size * 2
    assert is_wrong[np.argsort(quality)[: is_wrong.sum()]].mean() > 0.5


@pytest.mark.parametrize(
    ("labels", "attributes"),
    [([0], [0]), ([1, 1, 1], [-1, -1, -1]), ([0, 1, 1], [0, 5, -1]), ([], [])],
)
def test_few_images_unknown_attributes_and_a_single_class(labels, attributes):
    probabilities = np.full((len(labels), 2), 0.5)
    found = label_quality(labels, attributes, probabilities)
    assert ((found.quality >= 0) & (found.quality <= 1)).all() and found.quality.shape == (len(labels),)
    assert found.likeliest.tolist() == labels


def test_tensors_and_exact_zeros_are_fine():
    torch = pytest.importorskip("torch")
    found = label_quality(torch.tensor([0, 1]), torch.tensor([0, 0]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert np.isfinite(found.quality).all()


P = np.full((3, 2), 0.5)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (([0, 1, 0], [0, 0, 0]), "probabilities: none"),
        (([0, 1, 2], [0, 0, 0], P), r"labels\[2\] is 2"),
        (([0, 1], [0, 0, 0], P), "labels"),
        (([0, 1, 0], [0, -2, 0], P), "attributes"),
        (([0, 1, 0], [0, 0, 0], P, P[:2]), "probabilities 2 have shape"),
        (([0, 1, 0], [0, 0, 0], P[:, 0]), "probabilities 1 have shape"),
        (([0, 1, 0], [0, 0, 0], np.full((3, 2), np.nan)), "finite"),
        (([0, 1, 0], [0, 0, 0], P.astype(str)), "finite"),
    ],
)
def test_bad_arguments_are_named(arguments, told):
    with pytest.raises(InputError, match=told):
        label_quality(*arguments)

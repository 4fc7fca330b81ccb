"""Label quality on simulated labels, with wrong ones in common and rare groups, against the score that others use."""

import numpy as np
import pytest
from scipy.special import softmax

from dbpt.errors import InputError
from dbpt.evaluation import label_quality, wrong_labels


def simulated(num_classes, share, *, rare, seed, n=2000, noise=1.3, reliance=(2, 2)):
    """Labels, of which a share is wrong, and sources that rely on the attribute as ``reliance`` says."""
    random = np.random.default_rng(seed)
    true = random.integers(0, num_classes, n)
    is_rare = random.random(n) < rare
    attributes = np.where(is_rare, (true + random.integers(1, num_classes, n)) % num_classes, true)
    is_wrong = random.random(n) < share
    labels = np.where(is_wrong, (true + random.integers(1, num_classes, n)) % num_classes, true)
    is_true, is_attribute = (np.arange(num_classes) == of[:, None] for of in (true, attributes))
    sources = [
        softmax(3 * is_true + of * is_attribute + random.normal(0, noise, (n, num_classes)), axis=1) for of in reliance
    ]
    return labels, attributes, is_wrong, is_rare, sources


RELIANCES = (((2,), 0.8), ((2, 2), 0.88), ((3, 1), 0.88))
SETTINGS = [(*of, *reliance) for of in ((2, 0.01), (2, 0.05), (3, 0.05), (4, 0.1)) for reliance in RELIANCES]


@pytest.mark.parametrize(
    ("num_classes", "share", "reliance", "least_found"),
    [pytest.param(*each, marks=pytest.mark.full) if number % 5 else each for number, each in enumerate(SETTINGS)],
)
def test_attributes_halve_the_false_alarms_in_rare_groups(num_classes, share, reliance, least_found):
    """At equal length, against the mean probability of the label by the same sources (cleanlab's score, for one).

    Without the attributes they are not halved.
    """
    of_all = np.zeros((3, 2))  # wrong labels found and correct rare ones listed, by each score
    for seed in range(10 if share < 0.05 else 5):
        labels, attributes, is_wrong, is_rare, sources = simulated(
            num_classes, share, rare=0.05, seed=seed, reliance=reliance
        )
        scores = [np.mean(sources, axis=0)[np.arange(len(labels)), labels]]
        scores += [label_quality(labels, of, *sources).quality for of in (attributes, np.zeros_like(attributes))]
        for row, score in enumerate(scores):
            listed = np.argsort(score)[: is_wrong.sum()]
            of_all[row] += is_wrong[listed].sum(), (is_rare & ~is_wrong)[listed].sum()
    (peer, peer_rare), (found, rare), (_, rare_without) = of_all
    assert peer_rare >= 10
    assert rare <= peer_rare / 2 < rare_without
    assert found >= least_found * peer


@pytest.mark.parametrize(
    ("num_classes", "rare", "share"), [(2, 0, 0.1), (2, 0.01, 0.05), (2, 0.02, 0.1), (3, 0.1, 0.1)]
)
def test_wrong_labels_are_called_wrong_though_they_are_most_of_the_rare_groups(num_classes, rare, share):
    labels, attributes, is_wrong, _, sources = simulated(
        num_classes, share, rare=rare, seed=0, n=4000, noise=1, reliance=(2,)
    )
    found = label_quality(labels, attributes, *sources)
    called = found.likeliest != labels
    assert called[is_wrong].mean() > 0.8 and is_wrong[called].mean() > 0.95
    assert abs(found.share_wrong - is_wrong.mean()) < 0.01
    assert (found.likeliest[called] == sources[0][called].argmax(axis=1)).mean() > 0.95


@pytest.mark.parametrize("n", [pytest.param(6, marks=pytest.mark.full), 50, pytest.param(1000, marks=pytest.mark.full)])
def test_noise_calls_hardly_a_label_wrong(n):
    called = 0
    for seed in range(20):
        random = np.random.default_rng(seed)
        labels, attributes = random.integers(0, 2, (2, n))
        found = label_quality(labels, attributes, random.dirichlet([1, 1], n), random.dirichlet([1, 1], n))
        called += (found.likeliest != labels).sum()
    assert called < 0.03 * 20 * n


@pytest.mark.parametrize(("num_classes", "noise"), [(2, 1.3), pytest.param(4, 2.5, marks=pytest.mark.full)])
def test_right_labels_of_hard_images_are_hardly_ever_called_wrong(num_classes, noise):
    """Of the labels that the probabilities contradict there are many: cleanlab's list would have them."""
    called = contradicted = shares = 0
    for seed in range(5):
        labels, attributes, _, _, sources = simulated(num_classes, 0, rare=0.05, seed=seed, noise=noise)
        found = label_quality(labels, attributes, *sources)
        called += (found.likeliest != labels).sum()
        contradicted += (np.mean(sources, axis=0).argmax(axis=1) != labels).sum()
        shares += found.share_wrong / 5
    assert called < 0.03 * contradicted and shares < 0.005


@pytest.mark.parametrize("which", ["one class", "one attribute"])
def test_the_share_of_wrong_labels_may_differ_from_group_to_group(which):
    found = share = precise = 0
    for seed in range(5):
        true, attributes, _, _, sources = simulated(2, 0, rare=0.1, seed=seed, noise=1, n=4000)
        concerned = (true if which == "one class" else attributes) == 0
        is_wrong = concerned & (np.random.default_rng(seed).random(len(true)) < 0.1)
        labels = np.where(is_wrong, 1 - true, true)
        quality = label_quality(labels, attributes, *sources)
        wrong = quality.likeliest != labels
        found += wrong[is_wrong].mean() / 5
        precise += is_wrong[wrong].mean() / 5
        share += (quality.share_wrong - is_wrong.mean()) / 5
    assert found > 0.7 and precise > 0.85 and abs(share) < 0.01


def test_a_score_within_the_group_alone_hides_what_this_one_finds():
    labels, attributes, is_wrong, _, sources = simulated(2, 0.1, rare=0.05, seed=0)
    quality = label_quality(labels, attributes, *sources).quality
    within = np.empty(len(labels))
    for group in np.unique(groups := labels * 2 + attributes):
        members = np.flatnonzero(groups == group)
        within[members] = sources[0][members, labels[members]].argsort().argsort() / len(members)
    found, found_within = (is_wrong[np.argsort(score)[: is_wrong.sum()]].sum() for score in (quality, within))
    assert found > 1.5 * found_within


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
    assert np.abs(quality - label_quality(labels, attributes, *sources).quality).mean() < 0.005


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
        (([0, 1, 0], [0, 0, 0], np.full((3, 2), np.nan)), r"probabilities 1\[0\] sum to nan"),
        (([0, 1, 0], [0, 0, 0], P, P * [[1], [100], [1]]), r"probabilities 2\[1\] sum to 100"),
        (([0, 1, 0], [0, 0, 0], np.array([[0.5, 0.5], [0.5, 0.5], [1.5, -0.5]])), r"1\[2\] .* -0.5"),
        (([0, 1, 0], [0, 0, 0], P.astype(str)), "expected numbers"),
    ],
)
def test_bad_arguments_are_named(arguments, told):
    with pytest.raises(InputError, match=told):
        label_quality(*arguments)

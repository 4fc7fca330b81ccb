"""Doubts about guesses on made logits: names that are seen, unseen, alike or absent, and few or uneven images."""

import numpy as np
import pytest

from dbpt import label_attributes
from dbpt.cautions import short_of
from dbpt.guesses import doubts as fewer_names
from dbpt.guesses.doubts import (
    AGREEMENT_TEMPLATES,
    LARGEST_GAP_DENSITY,
    LOWEST_SEPARATION,
    LOWEST_SPREAD,
    MOST_NEARER_WORDS,
    MOST_PAIRS,
    MOST_ROWS_TO_JUDGE,
    Trust,
    guess_trust,
    judged_rows,
    names_to_leave_out,
)
from dbpt.guesses.linear_probe import LOWEST_AGREEMENT, kappa


def made(n, seen=(0, 1), names=None, signal=6.0, noise=1.0, of_template=0.3, classes=2, seed=0):
    """Return guesses, logits, logits by template, labels and names of ``n`` images that show the ``seen`` names."""
    rng = np.random.default_rng(seed)
    size = max(seen) + 1 if names is None else names
    true = rng.choice(seen, n)
    logits = rng.normal(20, noise, (n, size))
    logits[np.arange(n), true] += signal
    logits = logits.astype(np.float32)
    others = [(logits + rng.normal(0, of_template, (n, size))).astype(np.float32) for _ in AGREEMENT_TEMPLATES]
    guesses = label_attributes(logits, method="argmax").pseudo_attributes
    return guesses, logits, others, rng.integers(0, classes, n), list("abcdefgh"[:size])


def trust(guesses, logits, others, labels, names, counts=None, other_words=None):
    """Judge guesses, by default against one word that fits no image."""
    other_words = np.full((len(guesses), 1), -1e3, np.float32) if other_words is None else other_words
    return guess_trust(guesses, logits, others, other_words, labels, names, counts)


def doubted(*case, other_words=None):
    return {doubt.kind for doubt in trust(*case, other_words=other_words).doubts}


@pytest.mark.parametrize(
    ("n", "seen", "classes"),
    [(12, (0, 1), 1), (40, (0, 1, 2), 2), (1000, (0, 1), 200), (MOST_ROWS_TO_JUDGE + 1, (0, 1, 2), 200)],
)
def test_names_that_the_images_show_are_trusted(n, seen, classes):
    assert doubted(*made(n, seen, classes=classes)) == set()


def test_a_rare_attribute_in_the_tail_of_another_is_not():
    """Images of the other attribute are strewn up to the rare ones; where they are few, a gap is left."""
    for strewn, kinds in ((0, set()), (400, {"rare"})):
        guesses, logits, others, labels, names = made(3000, 100 * (0,) + (1,), signal=8.0)
        rows = np.flatnonzero(guesses == 0)[:strewn]
        moved = np.random.default_rng(1).uniform(0, 12, (len(rows), 1)).astype(np.float32)
        for each in (logits, *others):
            each[rows, 1:] += moved
        found = trust(logits.argmax(axis=1), logits, others, labels, names)
        assert (found.gap_densities["b"] > LARGEST_GAP_DENSITY) == bool(kinds)
        assert doubted(logits.argmax(axis=1), logits, others, labels, names) == kinds
        assert found.failing == (("b",) if kinds else ())


def test_the_class_that_goes_with_the_attribute_does_not_hide_it():
    """With few images of a class they are judged together; the class and its usual attribute move the logits alike."""
    guesses, logits, others, _, names = made(40)
    assert doubted(guesses, logits, others, np.where(np.arange(40) < 4, 1 - guesses, guesses), names) == set()


@pytest.mark.parametrize(
    ("changed", "kinds"),
    [
        ({"of_template": 6.0}, {"sentences"}),
        ({"signal": 0.6, "noise": 0.1, "of_template": 0.02}, {"spread"}),
        ({"signal": 0.0, "of_template": 0.1}, {"separation"}),
        ({"signal": 0.0, "of_template": 0.1, "seen": (0, 1, 2)}, {"separation"}),
        ({"names": 3, "signal": 12.0}, {"unused"}),
    ],
)
def test_each_reason_not_to_trust_guesses(changed, kinds):
    assert doubted(*made(1000, **changed)) == kinds


def test_a_name_that_no_image_shows_is_seen_between_names_that_are():
    """The third name is like the second, as cartoons are like sketches: it splits images of one kind."""
    guesses, logits, others, labels, names = made(1000, names=3)
    noise = np.random.default_rng(1).normal(size=1000).astype(np.float32)
    for each in (logits, *others):
        each[:, 2] = each[:, 1] + noise
    guesses = logits.argmax(axis=1)
    found = trust(guesses, logits, others, labels, names)
    assert found.agreement > 0.8 and found.failing == ("b", "c")
    assert found.doubts[0].values["pairs"] == [["b", "c"]]
    assert doubted(guesses, logits, others, labels, names) == {"separation"}
    assert doubted(logits[:, :2].argmax(axis=1), logits[:, :2], [o[:, :2] for o in others], labels, names[:2]) == set()


RARE = (4000, (*20 * (0, 1), 2))


def unsteady():
    """Images of which few show the third name, whose guesses depend on the sentence."""
    case, rng = made(*RARE), np.random.default_rng(2)
    for each in case[2]:
        each[:, 2] = rng.normal(20, 1, 4000)
        each[rng.choice(4000, 100), 2] += 12
    return case


def test_one_name_that_depends_on_the_sentence_is_enough():
    """The third of three names is guessed for few images, so that the kappa of all names together stays high."""
    assert doubted(*made(*RARE)) == set()
    guesses, logits, others, labels, names = unsteady()
    found = trust(guesses, logits, others, labels, names)
    assert found.agreement < 0.7 and found.failing == ("c",)
    assert (found.doubts[0].kind, found.doubts[0].values["names"]) == ("sentences", ["c"])
    labelled = [label_attributes(each, method="argmax").pseudo_attributes for each in others]
    assert min(kappa(one, labelled[0], 3) for one in labelled) > 0.8


def test_names_are_doubted_if_other_words_fit_the_images_better_than_all_of_them():
    """Of 40 words, two are nearer to every image than its name; the names split the images all the same."""
    guesses, logits, others, labels, names = made(1000)
    words = np.full((1000, 40), -1e3, np.float32)
    words[:, :2] = 1e3
    assert doubted(guesses, logits, others, labels, names, other_words=words) == set()  # the limit itself
    words[np.arange(1000) % 3 > 0, 2] = 1e3  # of most images
    assert doubted(guesses, logits, others, labels, names, other_words=words) == {"other words"}
    assert trust(guesses, logits, others, labels, names, other_words=words).nearer_words == pytest.approx(3 / 40)
    words[guesses == 1] = -1e3  # "no glasses" fits nothing well, but "glasses" does
    assert doubted(guesses, logits, others, labels, names, other_words=words) == set()


def test_the_names_are_called_all_if_all_of_many_fail():
    found = trust(*made(1000, signal=0.0, of_template=6.0, seen=tuple(range(6)), noise=3.0))
    assert found.failing == tuple("abcdef") and len(found.separations) > MOST_PAIRS
    assert found.doubts[0].values["names"] == found.doubts[1].values["pairs"] == []


@pytest.mark.parametrize(
    ("value", "limit", "decimals", "text"),
    [
        (0.049999, 0.05, 2, "0.049999"),
        (5.04, 5.0, 0, "5.04"),
        (5.4, 5.0, 0, "5.4"),
        (12.3, 5.0, 0, "12"),
        (0.7951, 0.8, 2, "0.795"),
        (0.05, 0.05, 2, "0.05"),
        (np.nextafter(0.05, 0), 0.05, 2, "0.04999999999999999"),
    ],
)
def test_a_figure_that_fails_does_not_look_like_one_that_passes(value, limit, decimals, text):
    found = short_of(value, limit, decimals)
    assert found.startswith(text) and (value == limit or (float(found) < limit) == (value < limit))


def test_doubts_show_figures_just_beyond_the_limit():
    found = Trust(
        names=("a", "b"),
        agreements={"a": LOWEST_AGREEMENT - 1e-4, "b": 0.9},
        spread=LOWEST_SPREAD - 1e-4,
        separations={("a", "b"): LOWEST_SEPARATION - 1e-4},
        nearer_words=MOST_NEARER_WORDS + 1e-4,
    )
    agreement, spread, separation, nearer_words = map(str, found.doubts)
    assert f"around 'a' (agreement {LOWEST_AGREEMENT - 1e-4:.4f}; trusted" in agreement
    assert f"(spread {LOWEST_SPREAD - 1e-4:.4f}; trusted" in spread
    assert f"(separation {LOWEST_SEPARATION - 1e-4:.4f}; trusted" in separation
    assert f"({100 * MOST_NEARER_WORDS + 0.01:.2f} % of" in nearer_words


def test_other_words_are_compared_by_the_same_sentence():
    guesses, logits, others, labels, names = made(1000)
    words = np.full((1000, 1), 100, np.float32)
    assert trust(guesses, logits, others, labels, names, other_words=words).nearer_words == 1
    assert trust(guesses, logits, [others[0] + 100, *others[1:]], labels, names, other_words=words).nearer_words == 0


def test_a_class_direction_is_no_attribute():
    """Logits that differ between classes alone form two groups, but none within a class."""
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 2
    logits = (rng.normal(size=(600, 2)) + np.eye(2)[labels] * 8).astype(np.float32)
    others = [logits + np.float32(0.01) * number for number in range(len(AGREEMENT_TEMPLATES))]
    assert doubted(logits.argmax(axis=1), logits, others, labels, ["a", "b"]) == {"separation"}


def test_spread_is_that_of_the_odds_within_classes_whatever_all_logits_of_an_image_share():
    labels = np.arange(4000) % 2
    logits = np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32)
    expected = trust(logits.argmax(axis=1), logits, [logits] * 5, labels, ["a", "b", "c"]).spread
    assert expected == pytest.approx(1, abs=0.03)  # three names leave two dimensions
    shifted = logits + 1000 * labels[:, None] + np.arange(4000, dtype=np.float32)[:, None]
    found = trust(logits.argmax(axis=1), logits, [shifted] * 5, labels, ["a", "b", "c"]).spread
    assert found == pytest.approx(expected, rel=1e-3)
    of_class = logits + np.float32(100) * np.eye(3, dtype=np.float32)[labels]
    assert trust(logits.argmax(axis=1), logits, [of_class] * 5, labels, ["a", "b", "c"]).spread < 1.2


def test_a_sample_of_many_images_is_spread_over_all_of_them():
    guesses, logits, others, labels, names = made(2 * MOST_ROWS_TO_JUDGE + 2)
    rows = judged_rows(np.argsort(guesses, kind="stable"))
    assert len(rows) == MOST_ROWS_TO_JUDGE and np.bincount(guesses[rows]).min() > 0.45 * MOST_ROWS_TO_JUDGE
    assert doubted(guesses[rows], logits[rows], [each[rows] for each in others], labels[rows], names) == set()
    wide = [np.pad(each[rows], ((0, 0), (0, 1)), constant_values=-50) for each in (logits, *others)]
    judged, counts = (guesses[rows], wide[0], wide[1:], labels[rows], [*names, "c"]), np.bincount(guesses)
    assert trust(*judged).unused == ("c",)
    assert trust(*judged, np.array([*counts, 1])).unused == ()  # an image that the sample leaves out


def test_guesses_that_are_missing_do_not_count():
    guesses, logits, others, labels, names = made(400)
    some = np.where(np.arange(400) % 3 == 0, -1, guesses)
    assert doubted(some, logits, others, labels, names) == set()
    assert doubted(np.full(400, -1), logits, others, labels, names) == {"separation", "unused"}
    assert trust(np.full(400, -1), logits, others, labels, names).unused == ("a", "b")


def test_equal_logits_one_image_and_shares_that_cannot_be_met():
    """Warnings are errors in these tests."""
    equal = np.zeros((50, 3), np.float32)
    found = trust(np.zeros(50, np.int64), equal, [equal] * 5, np.zeros(50, np.int64), ["a", "b", "c"])
    assert (found.agreement, found.spread, found.separation, found.unused) == (1.0, 0.0, 0.0, ("b", "c"))
    assert doubted(*made(1)) >= {"unused"}
    halves = np.arange(50) % 2
    assert doubted(halves, equal[:, :2], [equal[:, :2]] * 5, halves, ["a", "b"]) >= {"spread", "separation"}


def like(case, name, other, seed=1):
    """Let the logits of one name be those of another one with noise, and guess again."""
    _, logits, others, labels, names = case
    noise = np.random.default_rng(seed).normal(size=len(logits)).astype(np.float32)
    for each in (logits, *others):
        each[:, name] = each[:, other] + noise
    return logits.argmax(axis=1), logits, others, labels, names


def left_out(case, method="proportional", nearer=0):
    """Return the names to leave out if so many of 100 other words are nearer to each image than its name."""
    guesses, logits, others, labels, _ = case
    words = np.full((len(guesses), 100), -1e3, np.float32)
    words[:, :nearer] = 1e3
    return names_to_leave_out(trust(*case), logits, others, words, labels, method=method)


@pytest.mark.parametrize("method", ["proportional", "argmax", "kmeans"])
def test_a_name_without_images_is_left_out(method):
    assert left_out(made(1000, names=3, signal=12.0), method) == ["c"]
    assert left_out(made(1000, names=4, signal=12.0), method) == ["c", "d"]


def test_a_name_without_images_and_one_that_another_name_is_like_are_left_out():
    case = made(1000, seen=(0, 1), names=4)
    case = like(case, 2, 1)
    for each in (case[1], *case[2]):
        each[:, 3] -= 50
    assert trust(*case).unused == ("d",)
    assert left_out(case) in (["b", "d"], ["c", "d"])


def test_a_name_that_depends_on_the_sentence_is_left_out():
    assert left_out(unsteady()) == ["c"]


def test_nothing_is_left_out_if_nothing_helps(monkeypatch):
    assert left_out(made(1000)) == []  # there is no doubt
    assert left_out(made(1000, names=2, signal=0.0)) == []  # one name is no attribute
    assert left_out(made(1000, seen=(0, 1, 2), signal=0.0)) == []  # all fail
    assert left_out(made(1000, seen=(0,), names=3, signal=30.0)) == []  # one name has all images
    blurred = made(1000, seen=(0, 1, 2), signal=0.6, noise=0.1, of_template=0.02)
    assert trust(*blurred).doubts and trust(*blurred).failing == () == tuple(left_out(blurred))
    monkeypatch.setattr(fewer_names, "MOST_TRIALS", 0)
    assert left_out(made(1000, names=3, signal=12.0)) == []


def test_names_that_other_words_nearly_outrank_are_not_the_way_out():
    case = made(1000, names=3, signal=12.0)
    assert [left_out(case, nearer=n) for n in (2, 3)] == [["c"], []]

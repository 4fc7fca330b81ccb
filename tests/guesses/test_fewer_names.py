"""Names to leave out of more than two, so that guesses of the others raise no doubt."""

import numpy as np
import pytest
from test_trust import made, trust

from dbpt.guesses import trust as fewer_names
from dbpt.guesses.trust import names_to_leave_out


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


def test_one_of_two_names_that_mean_the_same_is_left_out():
    """Either would do; the others keep the larger separation without one of them."""
    case = like(made(1000, names=3), 2, 1)
    assert trust(*case).failing == ("b", "c")
    assert left_out(case) in (["b"], ["c"])


def test_a_name_without_images_and_one_that_another_name_is_like_are_left_out():
    case = made(1000, seen=(0, 1), names=4)
    case = like(case, 2, 1)
    for each in (case[1], *case[2]):
        each[:, 3] -= 50
    assert trust(*case).unused == ("d",)
    assert left_out(case) in (["b", "d"], ["c", "d"])


def test_a_name_that_depends_on_the_sentence_is_left_out():
    case = made(4000, (*20 * (0, 1), 2))
    draws = np.random.default_rng(2)
    for each in case[2]:
        each[:, 2] = draws.normal(20, 1, 4000)
        each[draws.choice(4000, 100), 2] += 12
    assert trust(*case).failing == ("c",) and left_out(case) == ["c"]


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

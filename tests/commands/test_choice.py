"""Which candidate of ``--prompts auto`` is saved: the hedge, and what it takes to replace it."""

from types import SimpleNamespace

import numpy as np
import pytest

from dbpt.commands.fit.saved_candidate import choose
from dbpt.data import StoredFeatures
from dbpt.guesses.grouping import GroupedAttribute, Grouping
from dbpt.settings.config import make_config


def candidates(**p_true):
    """Results whose classifiers give the right class these probabilities (n,)."""

    def of(values):
        def probabilities(features):
            is_right, values_N1 = features[:][:, :1] == np.arange(2), np.asarray(values)[:, None]
            return np.where(is_right, values_N1, 1 - values_N1).astype(np.float32)

        return SimpleNamespace(probabilities=probabilities, predictions=lambda f: probabilities(f).argmax(axis=1))

    rows = {name: SimpleNamespace(alpha=0.5 if name == "mix" else None) for name in p_true}
    return {name: SimpleNamespace(classifier=of(values), row=rows[name]) for name, values in p_true.items()}


def study(groups, doubts=(), **settings):
    """A study whose validation rows have these groups y * 2 + a."""
    labels = np.array(groups) // 2
    config = make_config({"data": "demo", **settings})
    attribute = GroupedAttribute(
        name="attribute",
        codes=np.array(groups) % 2,
        values=(("land", "sea"),) * 2,
        provenance="words",
        possible=np.ones((2, 2), bool),
    )
    grouping = Grouping(labels=labels, class_names=("box", "disc"), factors=(attribute,))
    return SimpleNamespace(
        config=config,
        guesses=SimpleNamespace(doubts=[SimpleNamespace(kind=kind) for kind in doubts]),
        rows=lambda split: np.arange(len(labels)),
        dataset=SimpleNamespace(labels=labels),
        features=StoredFeatures.of(labels[:, None].astype(np.float32)),
        training_grouping=grouping,
        selection_grouping=grouping,
    )


def chosen(groups, hedge="mix", doubts=(), settings=None, **p_true):
    return choose(study(groups, doubts, **settings or {}), candidates(**p_true), hedge)


SKEWED = [0] * 20 + [1] * 2 + [2] * 2 + [3] * 20
MANY = [0] * 50 + [1] * 50 + [2] * 50 + [3] * 50


def by_group(groups, *means):
    return np.array(means)[groups]


def test_two_rows_of_a_rare_group_choose_nothing():
    mix, other = by_group(SKEWED, 0.9, 0.5, 0.7, 0.9), by_group(SKEWED, 0.9, 0.8, 0.8, 0.9)
    best, choice = chosen(SKEWED, mix=mix, gla=other)
    assert (best, choice.why, choice.group, choice.n) == ("mix", "few", "box · sea", 2)


def test_many_rows_do_if_the_lead_is_clear():
    mix, other = by_group(MANY, 0.9, 0.5, 0.7, 0.9), by_group(MANY, 0.9, 0.8, 0.8, 0.9)
    best, choice = chosen(MANY, mix=mix, gla=other)
    assert (best, choice.why) == ("gla", "better")
    assert (choice.lead, choice.limit) == (pytest.approx(0.3), pytest.approx(0.5 / np.sqrt(50)))
    slightly = by_group(MANY, 0.9, 0.57, 0.8, 0.9)  # two standard errors of 50 rows are 0.0707
    assert chosen(MANY, mix=mix, gla=slightly)[0] == "mix"


@pytest.mark.parametrize(("rows", "best"), [(29, "mix"), (30, "gla")])
@pytest.mark.parametrize("worst", [1, 3])
def test_a_group_of_fewer_than_30_rows_keeps_even_a_hedge_that_is_quite_wrong_there_or_elsewhere(rows, best, worst):
    groups = [0] * 50 + [1] * rows + [2] * rows + [3] * 50
    mix, other = np.where(np.array(groups) == worst, 0.02, 0.9), by_group(groups, 0.9, 0.9, 0.9, 0.9)
    assert chosen(groups, mix=mix, gla=other)[0] == best


def test_a_group_without_validation_rows_has_no_say():
    groups = [0] * 50 + [2] * 50 + [3] * 50
    mix = by_group(groups, 0.9, 0.0, 0.3, 0.9)
    best, choice = chosen(groups, mix=mix, gla=by_group(groups, 0.9, 0.0, 0.81, 0.9))
    assert (best, choice.group, choice.n) == ("gla", "disc · land", 50)
    given = study([*groups, 1])  # the last row is the only one of training
    given.rows = lambda split: np.arange(len(groups)) if split == "val" else np.array([len(groups)])
    assert choose(given, candidates(mix=mix, gla=mix), "mix")[1].n == 0


def test_of_several_that_pass_the_one_with_the_largest_lower_bound_is_taken():
    noise = np.where(np.arange(len(MANY)) % 2, 0.15, -0.15)
    mix, steady = by_group(MANY, 0.9, 0.3, 0.7, 0.9), by_group(MANY, 0.9, 0.7, 0.75, 0.9)
    noisy = np.where(np.array(MANY) == 1, 0.705 + noise * 1.8, steady)
    best, choice = chosen(MANY, mix=mix, noisy=noisy, steady=steady)
    alone = {name: chosen(MANY, mix=mix, **{name: p})[1] for name, p in (("noisy", noisy), ("steady", steady))}
    assert all(of_one.why == "better" for of_one in alone.values())
    assert alone["noisy"].lead > alone["steady"].lead == choice.lead and best == "steady"


def test_one_that_is_worse_elsewhere_does_not_pass():
    mix, other = by_group(MANY, 0.9, 0.5, 0.7, 0.9), by_group(MANY, 0.9, 0.8, 0.3, 0.9)
    best, choice = chosen(MANY, mix=mix, gla=other)
    assert (best, choice.why, choice.lead) == ("mix", "hedge", None)


def test_without_a_hedge_or_words_the_best_worst_group_decides():
    mix, other = by_group(SKEWED, 0.9, 0.5, 0.7, 0.9), by_group(SKEWED, 0.9, 0.6, 0.8, 0.9)
    assert chosen(SKEWED, mix=mix, gla=other)[0] == "mix"
    best, choice = chosen(SKEWED, hedge=None, dbpt=mix, gla=other)
    assert (best, choice.why) == ("gla", "score")
    for doubt in ("other words", "sentences", "spread"):
        best, choice = chosen(SKEWED, doubts=(doubt,), mix=other, gla=mix, dbpt=mix)
        assert (best, choice.why) == ("gla", "words")  # only trained ones are compared
    assert chosen(SKEWED, doubts=("separation", "rare"), mix=mix, gla=other)[0] == "mix"
    assert chosen(SKEWED, hedge=None, dbpt=mix, gla=mix)[0] == "dbpt"  # the first of two that are level


def test_the_metric_of_model_selection_decides():
    mix, other = by_group(MANY, 0.9, 0.45, 0.7, 0.9), by_group(MANY, 0.9, 0.55, 0.8, 0.9)
    best, choice = chosen(MANY, settings={"model_selection": "pseudo-wga"}, mix=mix, gla=other)
    assert (best, choice.figure, choice.lead) == ("gla", "wga", 1.0)
    best, choice = chosen(MANY, settings={"model_selection": "average"}, mix=mix, gla=other)
    assert (best, choice.group, choice.n, choice.lead) == ("gla", None, 200, 0.25)
    best, choice = chosen(MANY, settings={"model_selection": "last"}, mix=mix, gla=other)
    assert (best, choice.why, choice.lead) == ("mix", "last", None)
    best, choice = chosen(MANY, doubts=("spread",), settings={"model_selection": "last"}, mix=mix, dbpt=mix, gla=other)
    assert (best, choice.why, choice.figure) == ("dbpt", "words", "last")


def test_words_fail_if_untrained_groups_do_not_tell_the_classes_apart():
    mix, other = by_group(MANY, 0.9, 0.6, 0.7, 0.9), by_group(MANY, 0.9, 0.5, 0.65, 0.9)
    for knows, expected in ((3.0, ("mix", "few")), (0.0, ("gla", "words"))):
        given = study(MANY)
        labels = given.dataset.labels
        logits = np.random.default_rng(0).normal(size=(200, 2)) + knows * np.eye(2)[labels]
        given.dataset.class_names = ["box", "disc"]
        given.pseudo = SimpleNamespace(pseudo_attributes=np.array(MANY) % 2)
        given.embedded = SimpleNamespace(dataset=given.dataset, features=given.features)
        given.rows = lambda split: np.arange(split == "val", 200, 2)
        untrained = candidates(untrained=mix[1::2])["untrained"].classifier
        untrained.logits = lambda features, of=logits: np.concatenate([of[::2], of[1::2]])
        tried = {name: candidates(**{name: values[1::2]})[name] for name, values in (("mix", mix), ("gla", other))}
        tried["group-prompts-sum"] = SimpleNamespace(classifier=untrained, row=SimpleNamespace(alpha=0.0))
        best, choice = choose(given, tried, "mix")
        assert (best, choice.why) == expected

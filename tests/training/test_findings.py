"""Warnings of a finished training: groups that it lost, weights on too few rows, a loss that rose."""

from dataclasses import replace

import numpy as np
import pytest
from toy_training import SETTINGS, TRAIN, VAL, build, linear_head

from dbpt.training import Rows, train
from dbpt.training.model_selection import effective_rows, training_findings

NAMES = ("a · x", "a · y", "b · x", "b · y")
ASKED = {"asked_lr": SETTINGS.lr, "group_names": NAMES, "selection": "pseudo-wgp"}
ROWS = np.bincount(TRAIN.groups[TRAIN.groups >= 0])


def trained(objective: str, settings=SETTINGS, training=TRAIN, **choices):
    built = build(objective, training, **choices)
    result = train(linear_head(), built, training, VAL, settings)
    return result.history, training_findings(result, built, **ASKED | {"asked_lr": settings.lr})


def first_rows(n: int) -> Rows:
    return replace(TRAIN, features=TRAIN.features[:n], labels=TRAIN.labels[:n], groups=TRAIN.groups[:n])


@pytest.mark.parametrize("objective", ["erm", "balanced", "dbpt", "groupdro", "jtt", "class-balanced"])
@pytest.mark.parametrize("apply", ["loss", "sampling"])
def test_nothing_is_found_where_nothing_is_wrong(objective, apply):
    history, found = trained(objective, replace(SETTINGS, epochs=30), apply=apply, dro_step_size=0.01)
    assert found == []
    draws = [record.draws for record in history]
    if apply == "loss" or objective in ("erm", "jtt", "class-balanced"):
        assert draws == [None] * len(draws)
    else:
        assert all(min(drawn) > 0 and 75 <= sum(drawn) <= 90 for drawn in draws)  # some rows have no group


def test_groups_that_no_batch_has_keep_their_weight_and_are_named():
    history, found = trained("dbpt", apply="sampling", eta=60.0, ema_momentum=0.0)
    lost = [group for group in range(4) if history[-1].draws[group] == 0]
    assert len(lost) == 3
    lines = []
    for group in lost:
        epochs = [record.epoch for record in history if record.draws[group] == 0]
        assert epochs == list(range(epochs[0], 6))  # none comes back
        frozen = {record.group_weights[group] for record in history[epochs[0] - 2 :]}
        assert len(frozen) == 1
        lines.append(f"{NAMES[group]} ({ROWS[group]} rows; in {len(epochs)} of 5 epochs, first in epoch {epochs[0]})")
    assert (found[0].kind, found[0].values) == ("undrawn groups", {"groups": lines})


def test_groups_whose_weight_is_nothing_are_named_though_they_are_seen():
    history, found = trained("groupdro", dro_step_size=1000.0)
    (weightless,) = (warning for warning in found if warning.kind == "weightless groups")
    for group, line in enumerate(weightless.values["groups"]):
        epochs = [record.epoch for record in history if record.group_weights[group] == 0]
        assert line.startswith(f"{NAMES[group]} ({ROWS[group]} rows; after {len(epochs)} of 5 epochs, first after")


def test_a_subset_of_a_few_rows_is_told():
    assert trained("subg")[1] == []
    few = first_rows(60)
    size = np.bincount(few.groups[few.groups >= 0]).min()
    (found,) = trained("subg", training=few)[1]
    assert (found.kind, found.values) == ("small subset", {"n": 4 * size, "of": 60})
    assert trained("suby", training=few)[1] == []


def test_weights_on_a_few_rows_are_told_with_the_group_that_has_them():
    settings = replace(SETTINGS, model_selection="last")
    history, found = trained("groupdro", settings, apply="sampling", dro_step_size=10.0)
    smallest = int(ROWS.argmin())
    assert history[-1].group_weights[smallest] == max(history[-1].group_weights)
    values = dict(found[-1].values)
    assert values.pop("group") == NAMES[smallest]
    weight = ROWS.sum() / ROWS[smallest]
    assert values == pytest.approx({"n": ROWS.sum(), "effective": ROWS[smallest], "weight": weight}, rel=1e-3)


def test_effective_rows_are_kishs():
    weights, counts = np.array([0.5, 2.0, 0.0]), np.array([90.0, 30.0, 7.0])
    row_by_row = np.repeat(weights, counts.astype(int))
    assert effective_rows(weights, counts) == pytest.approx(row_by_row.sum() ** 2 / (row_by_row**2).sum())
    assert effective_rows(np.ones(3), counts) == pytest.approx(127)


def test_few_rows_of_equal_weight_are_nobodys_fault():
    assert trained("balanced", training=first_rows(20))[1] == []


def test_a_training_that_ends_worse_than_it_began_and_than_guessing_diverged():
    history, found = trained("erm", replace(SETTINGS, lr=60.0, weight_decay=0.03))
    (told,) = found
    assert told.values == {"first": history[0].loss, "last": history[-1].loss, "guessing": np.log(2)}


@pytest.mark.parametrize("objective", ["dbpt", "groupdro"])
def test_a_loss_that_only_the_weights_have_raised_is_no_divergence(objective):
    """The head hardly moves, and the groups that it predicts badly come to weigh more."""
    slow = replace(SETTINGS, lr=1e-6, epochs=40, sgd_momentum=0.0)
    history, found = trained(objective, slow, dro_step_size=0.02)
    assert history[-1].loss > 1.1 * history[0].loss > 1.1 * np.log(2)
    assert [each.kind for each in found] == ["untrained"]


@pytest.mark.parametrize("objective", ["balanced", "dbpt", "groupdro"])
def test_no_more_than_the_weights_can_raise_it_is_excused(objective):
    history, found = trained(objective, replace(SETTINGS, lr=60.0, weight_decay=0.03), dro_step_size=0.01)
    assert history[-1].loss > 4 * history[0].loss
    assert found[0].kind == "diverged"


def test_a_best_epoch_among_the_last_asks_for_more():
    """Only if there were enough epochs to tell, and not for one that came before."""
    built = build("erm")
    result = train(linear_head(), built, TRAIN, VAL, replace(SETTINGS, epochs=40))
    (first,) = training_findings(replace(result, best_epoch=1), built, **ASKED | {"selection": "average"})
    assert (first.kind, first.values) == ("untrained", {"epochs": 40})
    for best, asks in ((38, False), (39, True), (40, True)):
        warnings = training_findings(replace(result, best_epoch=best), built, **ASKED)
        values = [warning.values for warning in warnings if warning.kind == "still improving"]
        assert values == ([{"best": best, "epochs": 40, "more": 200}] if asks else [])
    assert training_findings(replace(result, best_epoch=40), built, **ASKED | {"selection": "last"}) == []
    short = replace(result, history=result.history[:10], best_epoch=10)
    assert training_findings(short, built, **ASKED) == []

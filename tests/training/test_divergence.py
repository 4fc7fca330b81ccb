"""Training that diverges: told at once, never saved, and gone on with at a lower rate from the last checkpoint."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from refusals import line_of
from runs import epochs_saved, fit, history_of, metrics_of, said
from torch import nn
from toy_training import SETTINGS, TRAIN, VAL, build, content, interrupted_after, linear_head, run

import dbpt
import dbpt.commands.trained_methods
from dbpt.errors import InputError
from dbpt.training import Rows, train
from dbpt.training.loop import learning_rate
from dbpt.training.model_selection import judge

FAST = replace(SETTINGS, lr=0.3, warmup_epochs=0)
RISKY = {"head": "linear", "optimizer": "sgd", "lr": 20.0, "weight_decay": 1.0, "warmup_epochs": 1, "epochs": 12}


def diverges(match: str, head: nn.Module | None = None, training: Rows = TRAIN, validation: Rows = VAL, **options):
    with pytest.raises(InputError, match=match):
        train(head or linear_head(), build("erm", training), training, validation, FAST, **options)


@pytest.mark.parametrize("objective", ["dbpt", "groupdro", "jtt"])
@pytest.mark.parametrize("lr", [1e9, 1e30])
def test_a_loss_that_diverges_is_told_as_such_before_the_weights_see_it(objective, lr):
    with pytest.raises(InputError, match=rf" of objective '{objective}' is \S+ in epoch [234] .*lower --lr"):
        run(replace(SETTINGS, lr=lr, weight_decay=10.0), objective=objective)


@pytest.mark.parametrize("value", [1e9, np.inf, np.nan])
def test_a_loss_beyond_float32s_fractions_is_refused_before_the_step(value):
    head, features = linear_head(), TRAIN.features.copy()
    features[40] = value
    before = head.weight.detach().clone()
    settings = replace(FAST, batch_size=len(features))
    match = r"^training diverged: the loss of objective 'erm' is \S+ in epoch 1 at learning rate 0.3: lower --lr, for"
    with pytest.raises(InputError, match=match):
        train(head, build("erm"), replace(TRAIN, features=features), VAL, settings)
    assert torch.equal(head.weight, before)


def test_the_advice_is_below_the_rate_that_diverged_in_the_warm_up():
    features = TRAIN.features.copy()
    features[40] = np.nan
    with pytest.raises(InputError, match=r"rate 1e-05 \(--lr 0.3\): lower --lr, for example to 1e-06$"):
        train(linear_head(), build("erm"), replace(TRAIN, features=features), VAL, replace(FAST, warmup_epochs=1))


class Cusp(nn.Module):
    """Finite logits with a gradient that is not: the square root of a sum that is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = linear_head()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.layer(features) + self.layer.bias.abs().sum().sqrt()


def test_a_gradient_that_is_not_finite_is_refused_before_the_step():
    head = Cusp()
    diverges("the norm of the gradient of objective 'erm' is nan in epoch 1", head)
    assert all(value.isfinite().all() for value in head.state_dict().values())


def test_weights_that_a_last_step_makes_too_large_are_never_saved(tmp_path):
    """The loss of the epoch is that of before the step, and as good as any."""
    settings = replace(FAST, lr=1e30, batch_size=len(TRAIN.labels))
    way_out = r"lower --lr, for example to 0\.1; dbpt fit --resume --lr 0\.1 .* continues from the beginning$"
    with pytest.raises(InputError, match=rf"trained weights of objective 'erm' is \S+ in epoch 1 .*: {way_out}"):
        train(linear_head(), build("erm"), TRAIN, VAL, settings, checkpoint_path=tmp_path / "c")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_validation_logits_that_are_not_finite_are_wrong_and_their_probability_is_nan(value):
    features = VAL.features.copy()
    features[7, 1] = value
    match = "^training diverged: the number of validation rows without finite logits of objective 'erm' is 1 in epoch 1"
    diverges(match, validation=replace(VAL, features=features))


def test_one_logit_that_is_not_finite_spoils_its_row_alone():
    logits = torch.tensor([[0.0, 1.0], [float("nan"), 1.0], [2.0, float("-inf")], [2.0, 1.0]])
    correct, p_true = judge(nn.Identity(), logits, torch.tensor([1, 1, 0, 1]))
    assert correct.tolist() == [True, False, False, False]
    torch.testing.assert_close(
        p_true, torch.tensor([0.7311, torch.nan, torch.nan, 0.2689]), atol=1e-4, rtol=0, equal_nan=True
    )


@pytest.mark.parametrize("objective", ["dbpt", "groupdro", "jtt"])
def test_a_training_goes_on_at_a_lower_rate_and_can_be_killed_again(tmp_path, objective):
    lower, path, copy = replace(SETTINGS, lr=0.03), tmp_path / "c", tmp_path / "copy"
    interrupted_after(3, path, objective=objective)
    copy.write_bytes(path.read_bytes())
    trained = run(lower, objective=objective, checkpoint_path=path)
    assert trained.history[:3] == run(objective=objective).history[:3]
    first = 2 if objective == "jtt" else 0  # where the schedule of the second stage begins
    rates = [learning_rate(epoch - first, lr=0.03, epochs=5, warmup_epochs=1) for epoch in range(3, 5 + first)]
    assert [record.lr for record in trained.history[3:]] == rates
    assert trained.peak_rates == [(1, 0.3), (4, 0.03)]

    interrupted_after(4, copy, objective=objective, settings=lower)
    again = run(lower, objective=objective, checkpoint_path=copy)
    assert (content(again), again.peak_rates) == (content(trained), trained.peak_rates)


def test_a_finished_training_keeps_its_rate_and_none_takes_a_higher_one(tmp_path):
    finished = run(checkpoint_path=tmp_path / "c")
    same = run(replace(SETTINGS, lr=0.03), checkpoint_path=tmp_path / "c")
    assert (content(same), same.peak_rates) == (content(finished), [(1, 0.3)])
    with pytest.raises(InputError, match=r"made at learning rate 0.3, found --lr 0.4; it can continue with the same"):
        run(replace(SETTINGS, lr=0.4), checkpoint_path=tmp_path / "c")


def test_the_error_names_the_command_that_goes_on(tiny, tmp_path, command):
    out, settings = tmp_path / "run", tiny.settings | RISKY | {"objective": "groupdro", "baselines": False}
    line = line_of(dbpt.fit, tiny.table, out=out, **settings)
    good = epochs_saved(out / "checkpoints" / "groupdro.safetensors")
    way_out = "dbpt fit --resume --lr 0.1"
    assert line.endswith(f"{way_out} with the same --out continues from the checkpoint of epoch {good}")
    code, _, stderr = command(*way_out.split()[1:], "--out", out)
    assert code == 0, stderr
    told = f"the learning rate was lowered from 20 to 0.1 after epoch {good}"
    assert f"warning: Group DRO (linear): {told}" in stderr.splitlines()
    assert said(metrics_of(out)["rows"][-1]["repeats"][0]["warnings"])[0] == told
    assert f"Group DRO (linear): {told}" in (out / "report.html").read_text()
    assert "lr = 0.1\n" in (out / "config.toml").read_text()
    rates = [entry["lr"] for entry in history_of(out)]
    peaks = [20.0] * good + [0.1] * (12 - good)
    assert rates == [learning_rate(e, lr=lr, epochs=12, warmup_epochs=1) for e, lr in enumerate(peaks)]


@pytest.mark.parametrize(("head", "lr", "advised"), [("linear", 1e30, "0.1"), ("prompt", 1e30, "0.003")])
def test_the_advice_is_never_above_the_default_rate(tiny, tmp_path, head, lr, advised):
    optimizer = "sgd" if head == "linear" else "adamw"
    settings = tiny.settings | {"head": head, "optimizer": optimizer, "lr": lr, "baselines": False, "warmup_epochs": 0}
    with pytest.raises(InputError, match=f"lower --lr, for example to {advised}; dbpt fit --resume --lr {advised} w"):
        dbpt.fit(tiny.table, out=tmp_path / "run", **settings)


def test_rows_that_were_complete_keep_their_rate_and_say_so(tiny, tmp_path, monkeypatch):
    out, trained_result = tmp_path / "run", dbpt.commands.trained_methods.trained_result

    def diverge(experiment, objective, *prompts, **options):
        if objective == "dbpt":
            raise InputError("diverged")
        return trained_result(experiment, objective, *prompts, **options)

    monkeypatch.setattr(dbpt.commands.trained_methods, "trained_result", diverge)
    with pytest.raises(InputError, match="diverged"):
        fit(tiny, out, lr=0.005)
    monkeypatch.undo()
    for lr, found in ((0.5, "0.5"), (None, r"\S+")):  # not higher, and never for want of a flag
        with pytest.raises(InputError, match=rf"lr = 0.005, found {found}; use .*, or a lower --lr"):
            fit(tiny, out, lr=lr, resume=True)
    fit(tiny, out, lr=0.001, resume=True)
    rows = {row["method"]: said(row["repeats"][0]["warnings"]) for row in metrics_of(out)["rows"]}
    assert rows["erm"] == ["all epochs were trained, at learning rate 0.005, when --lr was lowered to 0.001"]
    assert rows["dbpt"] == []
    with pytest.raises(InputError, match=r"lr = 0.001, found 0.0005; use"):  # it is finished
        fit(tiny, out, lr=0.0005, resume=True)
    fit(tiny, out, lr=0.001, resume=True)

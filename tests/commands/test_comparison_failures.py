"""A comparison with trainings that fail, and with a folder that holds other settings, images or files."""

import json
import math
import re
from unittest.mock import Mock

import pytest
from comparisons import EPOCHS, METHODS, TABLES, compare, contents
from tiny import CLASSES

import dbpt
from dbpt import InputError
from dbpt.commands.compare import cells
from dbpt.objectives import Objective


def test_a_loss_that_blows_up_fails_alone(tiny, tmp_path, command):
    out = tmp_path / "c"
    options = [*tiny.arguments, "--lr", "1e30", "--weight-decay", "10", "--methods", "zero-shot,erm", "--seeds", "2"]
    code, printed, said = command("compare", tiny.table, "--out", out, *options)
    assert code == 2
    assert said.splitlines()[-1].startswith("Error: trainings that failed: 2")
    assert f"dbpt compare --resume --out {out} tries them again" in said
    failed = "failed: erm, head prompt, seed 1: training diverged: the loss of objective 'erm' is "
    assert failed in " ".join(printed.split())
    assert "ERM: 0 of 2 seeds" in printed
    assert json.loads((out / "plan.json").read_text())["status"] == "training"
    assert {path.name for path in (out / "cells").iterdir()} == {f"zero-shot_seed-{s}.safetensors" for s in (0, 1)}


def test_failed_cells_are_left_out_of_means_and_tried_again(tiny, tmp_path, long_comparison, monkeypatch):
    def fails_once(stages, cell, folder, watch, run_cell=cells.run_cell):
        if cell.name in ("dbpt_linear_seed-1", "erm_linear_seed-0"):
            raise InputError("the loss is nan | 100 % bad")
        run_cell(stages, cell, folder, watch)

    with monkeypatch.context() as patch:
        patch.setattr(cells, "run_cell", fails_once)
        found = compare(tiny, tmp_path / "c", epochs=EPOCHS)
    rows = {row["method"]: row for row in found.to_dict()["rows"]}
    seeds = {name: [repeat["seed"] for repeat in row["repeats"]] for name, row in rows.items()}
    assert (seeds["dbpt"], rows["dbpt"]["deviations"]["average"]) == ([0], None)
    assert rows["dbpt"]["difference"]["seeds"] == []  # ERM has the other one
    nothing = {"mean": None, "over_seeds": None, "over_draws": None}
    assert rows["dbpt"]["difference"]["figures"]["average"] == nothing
    oracle, erm = rows["groupdro:true"], rows["erm"]["repeats"][0]["figures"]["average"]
    found_oracle = oracle["difference"]["figures"]["average"]
    assert (seeds["groupdro:true"], oracle["difference"]["seeds"]) == ([0, 1], [1])
    assert found_oracle["mean"] == pytest.approx(oracle["repeats"][1]["figures"]["average"] - erm)
    assert found_oracle["over_seeds"] is None
    assert oracle["difference"]["over_images"] is not None
    assert "failed: dbpt, head linear, seed 1: the loss is nan | 100 % bad" in str(found)
    assert "linear, seed 1: The loss is nan | 100 % bad.</li>" in (tmp_path / "c" / "compare.html").read_text()
    compare(tiny, tmp_path / "c", epochs=EPOCHS, resume=True)
    assert contents(tmp_path / "c") == long_comparison


WRONG = (  # a method of an objective of one's own, what it does, and what is said of it
    ("loss", lambda self, losses, *rows: losses, r"loss returned a tensor of shape \(\d+,\); expected a scalar"),
    ("loss", lambda self, losses, *rows: losses.mean().item(), "loss returned 0.* expected a scalar tensor"),
    ("loss", lambda self, losses, *rows: losses.mean().detach(), r"of shape \(\) without gradient; expected"),
    ("loss", lambda self, losses, *rows: losses.mean() * math.nan, "is NaN in the first step, .* correct its code"),
    ("loss", lambda self, losses, *rows: losses.mean() + math.nan, "is NaN in the first step, .* correct its code"),
    ("loss", lambda self, losses, *rows: losses.mean() + "0", "TypeError: unsupported operand type"),
    ("row_weights", lambda self, groups, *rows: groups[:3], r"row_weights returned .* \(3,\); expected .* \(\d\d"),
    ("sample_losses", lambda self, logits, *rows: logits.mean(), r"sample_losses returned .* \(\); expected"),
    ("end_epoch", lambda self: 1 / 0, rf"ZeroDivisionError: division by zero \({re.escape(__file__)}, line \d\d\)"),
    ("end_epoch", Mock(side_effect=KeyboardInterrupt), "^$"),
)


def test_an_objective_of_one_s_own_fails_alone(tiny, tmp_path, registries):
    for number, (method, code, _) in enumerate(WRONG):
        dbpt.register_objective(f"wrong-{number}")(type("Mine", (Objective,), {method: code}))
    found = compare(tiny, tmp_path / "c", methods=["erm", *(f"wrong-{n}" for n in range(len(WRONG) - 1))], seeds=1)
    assert [row.method for row in found.rows if row.average_accuracy is not None] == ["erm"]
    for number, each in enumerate(found.failed):
        assert re.match(f"objective 'wrong-{number}': .*{WRONG[number][2]}", each.reason), each.reason
    own = tiny.settings | {"head": "linear", "prompts": "class", "epochs": 1, "baselines": False, "n_ctx": None}
    for number, error in ((-2, InputError), (-1, KeyboardInterrupt)):
        with pytest.raises(error, match=WRONG[number][2]):
            dbpt.fit(tiny.table, out=tmp_path / "run", objective=f"wrong-{len(WRONG) + number}", overwrite=True, **own)
    with pytest.raises(KeyboardInterrupt):
        compare(tiny, tmp_path / "other", methods=[f"wrong-{len(WRONG) - 1}", "erm"], seeds=1)


def test_a_comparison_grows_by_methods_heads_and_seeds(tiny, tmp_path, long_comparison):
    out = tmp_path / "c"
    compare(tiny, out, methods="erm,groupdro:true", seeds=(1,), epochs=EPOCHS)
    with pytest.raises(InputError, match=f"--out {out}: exists; continue it with --resume, replace it with --overw"):
        compare(tiny, out, epochs=EPOCHS)
    compare(tiny, out, epochs=EPOCHS, resume=True)
    assert contents(out) == long_comparison
    assert json.loads((out / "plan.json").read_text())["methods"] == list(METHODS)


def test_resume_needs_nothing_but_the_folder(tiny, tmp_path):
    out = tmp_path / "c"
    before = compare(tiny, out, methods="zero-shot,erm", seeds=(3,))
    (out / "cells" / "erm_linear_seed-3.safetensors").unlink()
    again = dbpt.compare(out=out, resume=True)
    assert str(again) == str(before)
    more = dbpt.compare(out=out, resume=True, methods="erm,balanced")
    seeds = {row.method: [repeat.seed for repeat in row.repeats] for row in more.metrics.rows}
    assert seeds == {"erm": [3], "balanced": [3]}
    with pytest.raises(InputError, match="none: no such folder; give the folder named by --out in dbpt compare"):
        dbpt.compare(out=tmp_path / "none", resume=True)


def test_an_extended_plan_is_kept_before_its_first_training(tiny, tmp_path, monkeypatch):
    out = tmp_path / "c"
    compare(tiny, out, methods="erm", seeds=1)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("dbpt.commands.compare.compare._run", Mock(side_effect=KeyboardInterrupt))
        compare(tiny, out, methods="erm,balanced", seeds=2, resume=True)
    assert len(dbpt.compare(out=out, resume=True).rows) == 2
    assert len(list((out / "cells").iterdir())) == 4


def test_other_settings_or_images_are_refused(tiny, tmp_path):
    out = tmp_path / "c"
    compare(tiny, out, methods="erm", seeds=1)
    before = contents(out)
    with pytest.raises(InputError, match="was started with epochs = 3, found 4; use the same .*dbpt compare --re"):
        compare(tiny, out, methods="erm", seeds=1, resume=True, epochs=4)
    # the default of one head, of which there is a cell, is not that of another, of which one may be added
    own_rate = tmp_path / "own-rate"
    compare(tiny, own_rate, methods="erm", heads="prompt", seeds=1, lr=None)
    with pytest.raises(InputError, match="lr = None, found 0.003"):
        compare(tiny, own_rate, methods="erm", heads="prompt,linear", seeds=1, resume=True, lr=0.003)
    fewer = tiny.write("fewer-compare", tiny.rows()[:-1])
    with pytest.raises(InputError, match="other images, labels, words or weights"):
        compare(tiny, out, fewer, methods="erm", seeds=1, resume=True)
    first, *others = tiny.rows()
    other = tiny.write("other-label", [first | {"label": CLASSES[first["label"] == CLASSES[0]]}, *others])
    with pytest.raises(InputError, match="other images, labels, words or weights"):
        compare(tiny, out, other, methods="erm", seeds=1, resume=True)
    assert contents(out) == before
    compare(tiny, out, fewer, methods="erm", seeds=1, overwrite=True)
    assert contents(out) != before


def test_a_cell_that_is_damaged_or_of_another_comparison_is_named(tiny, tmp_path):
    out, name = tmp_path / "c", "erm_linear_seed-0.safetensors"
    compare(tiny, out, methods="erm", seeds=1)
    whole, fewer = (out / "cells" / name).read_bytes(), tiny.write("fewer-for-a-cell", tiny.rows()[:-1])
    cells = [(whole[:100], "not a readable result .* delete it")]
    for number, choices in enumerate(({"epochs": 2}, {"data": fewer})):
        other = compare(tiny, tmp_path / f"other-{number}", methods="erm", seeds=1, **choices).folder
        cells.append(((other / "cells" / name).read_bytes(), "made with other settings"))
    for content, message in cells:
        (out / "cells" / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: {message}"):
            compare(tiny, out, methods="erm", seeds=1, resume=True)


def test_a_run_folder_and_a_comparison_folder_are_not_taken_for_each_other(tiny, tiny_run, tmp_path):
    with pytest.raises(InputError, match="exists and is not a comparison folder"):
        compare(tiny, tiny_run, overwrite=True)
    out = compare(tiny, tmp_path / "c", methods="erm", seeds=1).folder
    with pytest.raises(InputError, match="exists and is not a run folder"):
        dbpt.fit(tiny.table, out=out, overwrite=True, **tiny.settings)
    (out / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="holds 'mine.txt', which doesn't belong to a comparison"):
        compare(tiny, out, methods="erm", overwrite=True)
    assert set(TABLES) < {path.name for path in out.iterdir()}

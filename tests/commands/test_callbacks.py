"""Callbacks of `fit` and `compare`, and history.jsonl while training goes."""

import json

import pytest
from comparisons import compare
from comparisons import contents as comparison_contents
from runs import contents, epochs_saved, fit, history_of

import dbpt
from dbpt.errors import InputError


class Seen(dbpt.Callback):
    """Keeps what it is told, and the history as it is then."""

    def __init__(self, stop_at: int = 0, error: type[Exception] = RuntimeError) -> None:
        self.runs, self.epochs, self.results, self.files = [], [], [], []
        self.stop_at, self.error = stop_at, error

    def on_fit_start(self, run):
        self.runs.append(run)

    def on_epoch_end(self, row, epoch, metrics):
        self.epochs.append({"row": row, "epoch": epoch, **metrics})
        history = self.runs[-1].folder / "history.jsonl"
        self.files.append(history.read_text() if history.exists() else "")
        if len(self.epochs) == self.stop_at:
            raise self.error("enough")

    def on_fit_end(self, result):
        self.results.append(result)


def without_best(lines):
    return [{name: value for name, value in line.items() if name != "best"} for line in lines]


@pytest.fixture(scope="module")
def seen(tiny, tmp_path_factory) -> Seen:
    """What a whole run tells."""
    seen, other = Seen(), object.__new__(type("Other", (), {"on_fit_end": print}))
    fit(tiny, tmp_path_factory.mktemp("seen") / "run", callbacks=[seen, other])
    return seen


def test_a_fit_tells_its_callbacks_what_its_history_gets_line_by_line(tiny, seen):
    run = seen.results[0].folder
    expected = without_best(history_of(run))
    assert [line["row"] for line in expected] == ["erm"] * 6 + ["dbpt"] * 6
    assert [dict(line) for line in seen.epochs] == expected
    assert [[json.loads(line) for line in file.splitlines()] for file in seen.files] == [
        expected[: number + 1] for number in range(len(expected))
    ]
    assert all(file.endswith("}\n") for file in seen.files)
    (started,), (result,) = seen.runs, seen.results
    assert started.folder == run and started.settings["epochs"] == 6 and started.settings["data"] == str(tiny.table)
    names = ("box · meadow", "box · lake", "disc · meadow", "disc · lake")
    assert started.groups == {"erm": names, "dbpt": names}
    assert result.folder == run and result.table() == dbpt.Result.read(run).table()


@pytest.mark.parametrize("error", [pytest.param(RuntimeError, marks=pytest.mark.full), KeyboardInterrupt, MemoryError])
def test_a_callback_that_raises_stops_the_run_which_goes_on_from_its_checkpoints(tiny, tiny_run, seen, tmp_path, error):
    run, resumed = tmp_path / "run", Seen()
    with pytest.raises(error, match="enough"):
        fit(tiny, run, callbacks=[Seen(stop_at=9, error=error)])
    assert not (run / "metrics.json").exists() and len(history_of(run)) == 9
    assert without_best(history_of(run)) == history_of(run)
    saved = sum(epochs_saved(run / "checkpoints" / f"{name}.safetensors") for name in ("erm", "dbpt"))
    assert saved < 9  # the history is ahead
    with (run / "history.jsonl").open("a") as file:  # as a full disk or a lost page could leave it
        file.write('{"row": "db')
    fit(tiny, run, resume=True, callbacks=[resumed])
    assert resumed.files == seen.files[saved:]
    assert contents(run) == contents(tiny_run)


@pytest.fixture(scope="module")
def of_two_methods(tiny, tmp_path_factory) -> dict[str, object]:
    return comparison_contents(compare(tiny, tmp_path_factory.mktemp("two") / "c", methods="erm,dbpt").folder)


@pytest.mark.usefixtures("quick_jobs")
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_comparison_tells_its_callbacks_in_one_process_or_two(tiny, tmp_path, jobs):
    seen = Seen()
    methods = "zero-shot,erm,dbpt:true,dbpt:ppa,dfr"
    out = compare(tiny, tmp_path / "out", methods=methods, jobs=jobs, callbacks=[seen]).folder
    trained = [f"{method}_linear_seed-{seed}" for method in ("erm", "dbpt-true", "dbpt-ppa", "dfr") for seed in (0, 1)]
    assert sorted(seen.runs[0].groups) == sorted(trained) and len(seen.results) == 1
    assert seen.runs[0].groups["dbpt-ppa_linear_seed-1"][0] == "box · probe right"
    by_row = {row: [line["epoch"] for line in seen.epochs if line["row"] == row] for row in trained}
    assert by_row == {row: [1] if "dfr" in row else [1, 2, 3] for row in trained}
    lines = {(line["row"], line["epoch"]): line for line in seen.epochs}
    assert len(lines["dbpt-true_linear_seed-0", 1]["group_weights"]) == 4
    assert not (out / "history.jsonl").exists()


@pytest.mark.usefixtures("quick_jobs")
@pytest.mark.parametrize(("jobs", "error"), [(1, InputError), (2, InputError)])
def test_a_callback_that_raises_stops_a_comparison(tiny, tmp_path, jobs, error, of_two_methods):
    out = tmp_path / "out"
    with pytest.raises(error, match="enough"):
        compare(tiny, out, methods="erm,dbpt", jobs=jobs, callbacks=[Seen(stop_at=2, error=error)])
    assert not (out / "compare.json").exists()
    compare(tiny, out, methods="erm,dbpt", resume=True)
    assert comparison_contents(out) == of_two_methods


class Print:
    def on_epoch_end(self, epoch, metrics): ...


NO_LIST = "found .*; expected a list of objects with any of the methods"
TAKES = r".*Print.on_epoch_end takes \(epoch, metrics\); it is called with \(row, epoch, metrics\)"


@pytest.mark.parametrize("function", [dbpt.fit, dbpt.compare])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        *((wrong, NO_LIST) for wrong in (Seen(), "tensorboard", [print], [None])),
        ([type("Misspelt", (dbpt.Callback,), {"on_epoch": print})()], NO_LIST),
        ([Seen], r"Seen is a class; give an object: Seen\(\)"),
        ([Print()], TAKES),
    ],
)
def test_wrong_callbacks_get_one_line_before_any_work(tmp_path, function, wrong, message):
    with pytest.raises(InputError, match=f"^callbacks: {message}"):
        function("nowhere.csv", out=tmp_path / "run", callbacks=wrong)
    assert not (tmp_path / "run").exists()


def test_a_history_that_cannot_grow_ends_the_run_with_one_line(tiny, tmp_path):
    class Replace(dbpt.Callback):
        def on_epoch_end(self, row, epoch, metrics):
            (tmp_path / "run" / "history.jsonl").unlink()
            (tmp_path / "run" / "history.jsonl").mkdir()

    with pytest.raises(InputError, match="history.jsonl: cannot write: Is a directory; free space or"):
        fit(tiny, tmp_path / "run", callbacks=[Replace()])

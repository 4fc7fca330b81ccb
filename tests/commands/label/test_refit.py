"""Labels by hand as a table (``dbpt label --table``), and another run that keeps them (``--guess-only-unknown``)."""

import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from runs import contents, fit, metrics_of, pseudo_attributes
from test_label import true_answers, write_labels
from tiny import ATTRIBUTES, rows_of

import dbpt
from dbpt import InputError

FAST = {"head": "linear", "epochs": 2, "batch_size": 0, "baselines": False}


@pytest.fixture(scope="module")
def labelled(tiny, tmp_path_factory):
    """Write a table as bytes, fit on it, and judge 12 training images; with options of `dbpt.fit` and `judge_labels`.

    Return the run, the answers by path, and the result.
    """
    number = iter(range(100))

    def labelled(table, out, fit_options=None, answers=lambda answers: answers, **options):
        folder = tmp_path_factory.mktemp("refit")
        data = tiny.table.parent / f"refit-{next(number)}.csv"
        data.write_bytes(table)
        run = fit(tiny, folder / "run", data, **FAST, **fit_options or {})
        dbpt.draw_label_sample(run, out=folder / "sample", n=12, split="train", cache=str(tiny.cache))
        found = answers(true_answers(tiny, folder / "sample"))
        labels = write_labels(folder / "labels.csv", folder / "sample", found)
        return run, found, dbpt.judge_labels(folder / "sample", labels, table=out, **options)

    return labelled


def other_way_round(answers):
    """The wrong attribute for every image, so that answers differ from the guesses; the last one can't be told."""
    wrong = {path: ATTRIBUTES[1 - ATTRIBUTES.index(name)] for path, name in answers.items()}
    return wrong | {list(answers)[-1]: ""}


def table_of(tiny, columns=("path", "label", "split"), **changes) -> bytes:
    lines = [",".join(columns), *(",".join((row | changes)[name] for name in columns) for row in tiny.rows())]
    return ("\n".join(lines) + "\n").encode()


# --- the table --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keeps", [False, True])
def test_the_table_has_the_labels_and_what_the_run_kept_and_no_other_true_attribute(tiny, labelled, tmp_path, keeps):
    """An image whose true attribute only evaluates must not reach the next training by way of the table."""
    rows = [row | {"attribute": row["attribute"] if n % 3 else ""} for n, row in enumerate(tiny.rows())]
    lines = [",".join(row.values()) for row in (dict(zip(rows[0], rows[0], strict=True)), *rows)]
    options = {"guess_only_unknown": keeps}
    _, answers, result = labelled("\n".join(lines).encode(), tmp_path / "new.csv", options, other_way_round)
    expected = [row | {"attribute": answers.get(row["path"]) or (row["attribute"] if keeps else "")} for row in rows]
    assert rows_of(tmp_path / "new.csv") == expected
    assert f"--pseudo-attributes {tmp_path / 'new.csv'} --guess-only-unknown" in result.refit


def test_a_parquet_file_gets_a_new_csv_that_the_refit_reads_and_guesses_the_others(tiny, command, tmp_path):
    """As in docs/how_to/human_check.md. The command that `dbpt label` prints is run as it is."""
    data, rows = tmp_path / "squares.parquet", [{n: r[n] for n in ("path", "label", "split")} for r in tiny.rows()]
    pq.write_table(pa.Table.from_pylist(rows), data)
    run = fit(tiny, tmp_path / "run", data, root=tiny.table.parent, **FAST)
    dbpt.draw_label_sample(run, out=tmp_path / "sample", n=12, split="train", cache=str(tiny.cache))
    answers = other_way_round(true_answers(tiny, tmp_path / "sample"))
    labels = write_labels(tmp_path / "labels.csv", tmp_path / "sample", answers)
    judge = ["label", tmp_path / "sample", "--labels", labels, "--table"]
    code, _, told = command(*judge, tmp_path / "labelled.parquet")
    assert code == 2 and "labelled.parquet: is written as CSV; choose a name that ends in .csv" in told
    assert not (tmp_path / "labelled.parquet").exists() and not (tmp_path / "sample/judged.json").exists()
    _, printed, _ = command(*judge, tmp_path / "labelled.csv")
    assert rows_of(tmp_path / "labelled.csv") == [row | {"attribute": answers.get(row["path"], "")} for row in rows]
    assert command(*shlex.split(printed.splitlines()[-1].removeprefix("fit again with: "))[1:])[0] == 0
    told = {path: ATTRIBUTES.index(name) for path, name in answers.items() if name}
    before, after = pseudo_attributes(run), pseudo_attributes(tmp_path / "run-refit")
    assert after == before | told and after != before
    metrics = metrics_of(tmp_path / "run-refit")
    assert (metrics["group_kind"], metrics["pseudo_quality"]) == ("pseudo", None)
    assert metrics["guesses"]["method"].startswith("proportional (known ones from the ")


def test_a_table_that_exists_or_a_run_that_is_gone_is_refused(tiny, labelled, tmp_path, refusal):
    (tmp_path / "mine.csv").write_text("precious")
    with pytest.raises(InputError, match=r"--table .*mine.csv: exists; choose another name"):
        labelled(table_of(tiny), tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == "precious"
    run, _, _ = labelled(table_of(tiny), tmp_path / "new.csv")
    data = next(
        path for path in tiny.table.parent.glob("refit-*.csv") if str(path) in (run / "config.toml").read_text()
    )
    judge = ["label", run.parent / "sample", "--labels", run.parent / "labels.csv"]
    assert "--table is for judging" in refusal("label", run, "--table", tmp_path / "a.csv", "--out", tmp_path / "o")
    assert "--data is for drawing" in refusal(*judge, "--data", data)
    data.rename(moved := data.with_name(f"moved-{data.name}"))
    assert "does not exist" in refusal(*judge, "--table", tmp_path / "a.csv")
    dbpt.judge_labels(run.parent / "sample", run.parent / "labels.csv", table=tmp_path / "a.csv", data=moved)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "new.csv").read_bytes()


# --- the refit --------------------------------------------------------------------------------------------------------


def test_known_attributes_count_only_if_asked_for(tiny, tmp_path):
    rows = [row | {"attribute": row["attribute"] if n % 4 == 0 else ""} for n, row in enumerate(tiny.rows())]
    swapped = dict(zip(ATTRIBUTES, ATTRIBUTES[::-1], strict=True)) | {"": ""}
    right = tiny.write("known-right", rows)
    wrong = tiny.write("known-wrong", [row | {"attribute": swapped[row["attribute"]]} for row in rows])
    plain = [contents(fit(tiny, tmp_path / table.stem, table, **FAST)) for table in (right, wrong)]
    assert plain[0] == plain[1]
    kept = fit(tiny, tmp_path / "kept", wrong, guess_only_unknown=True, **FAST)
    assert contents(kept)["classifier.safetensors"] != plain[0]["classifier.safetensors"]
    known = {row["path"]: 1 - ATTRIBUTES.index(row["attribute"]) for row in rows if row["attribute"]}
    assert pseudo_attributes(kept) == pseudo_attributes(tmp_path / "known-right") | known
    assert metrics_of(kept)["pseudo_quality"] is None  # the known ones can't judge themselves
    audit = dbpt.audit(wrong, guess_only_unknown=True, out=tmp_path / "audit", **tiny.guessing)
    assert (audit.figures.guesses.n_known, audit.figures.guesses.accuracy) == (0, None)
    page = (tmp_path / "audit" / "audit.html").read_text()
    assert "known for some images are kept, and not guessed" in page and "have no influence" not in page
    assert dbpt.evaluate(kept).worst_group_accuracy == metrics_of(kept)["rows"][-1]["test"]["worst_group_accuracy"]
    none = tiny.write("known-none", [row | {"attribute": ""} for row in rows])
    assert dbpt.evaluate(kept, none).to_dict()["guesses"]["method"] == "proportional"


def test_a_file_has_priority_and_its_unknown_rows_are_guessed(tiny, tmp_path):
    rows = tiny.rows()
    lines = [f"{row['path']},{'lake' if n % 5 == 0 else ''}" for n, row in enumerate(rows)]
    (tmp_path / "some.csv").write_text("\n".join(["path,attribute", *lines]))
    chosen = {"pseudo_attributes": tmp_path / "some.csv", "pseudo_method": "argmax", **FAST}
    with pytest.raises(InputError, match=r"nothing is guessed, .* drop one of the two, or add --guess-only-unknown"):
        fit(tiny, tmp_path / "refused", **chosen)
    found = fit(tiny, tmp_path / "found", guess_only_unknown=True, **chosen)
    guessed = pseudo_attributes(fit(tiny, tmp_path / "guessed", pseudo_method="argmax", **FAST))
    assert pseudo_attributes(found) == guessed | {row["path"]: 1 for row in rows[::5]}
    quality = metrics_of(found)["pseudo_quality"]["accuracy"]  # over the true attributes of the table
    truth = np.array([ATTRIBUTES.index(row["attribute"]) for row in rows if row["split"] == "train"])
    codes = np.array([pseudo_attributes(found)[row["path"]] for row in rows if row["split"] == "train"])
    assert quality == pytest.approx((truth == codes).mean())

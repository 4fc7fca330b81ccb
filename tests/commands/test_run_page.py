"""The report of a real run: it agrees with the run's other files, and its command repeats the run."""

import re
import shlex

import numpy as np
import pytest
from html_page import boxes
from runs import contents, fit, metrics_of
from tiny import rows_of

from dbpt.evaluation import worst_group_difference_interval

SHOWN = re.compile(r'outcome is-(right|wrong)"><span aria-hidden="true">.</span> (before|after): ([^<]+)<')


def counts_in(page):
    """(images, right before, right after, gained, lost) of each group, by the table of the page."""
    table = page.split("Images right and wrong before and after")[1].split("</table>")[0]
    rows = re.findall(r"<tr><th[^>]*>[^<]*</th>(.*?)</tr>", table)
    return [tuple(map(int, re.findall(r"<td>(\d+)</td>", row))) for row in rows]


def pictures_in(page):
    """{path: [(right or wrong, before or after, class)]} of the pictures with predictions."""
    part = page.split(">The same images before and after</h2>")[1].split("</section>")[0]
    found = [(re.search('class="path">(.*?)</span>', item)[1], SHOWN.findall(item)) for item in part.split("<li>")[1:]]
    return {path.replace("<wbr>", ""): shown for path, shown in found}


def test_the_same_images_before_and_after_are_those_of_the_other_files(tiny_run):
    page, (zero_shot, *_, chosen) = (tiny_run / "report.html").read_text(), metrics_of(tiny_run)["rows"]
    counts = counts_in(page)
    for before, after, (n, right_before, right_after, gained, lost) in zip(
        zero_shot["test"]["groups"], chosen["test"]["groups"], counts, strict=True
    ):
        assert (n, right_before, right_after) == (before["n"], before["correct"], after["correct"])
        assert right_after - right_before == gained - lost
    assert sum(gained for *_, gained, _ in counts) > 0
    table = {row["path"]: row for row in rows_of(tiny_run / "predictions.csv")}
    pictures = pictures_in(page)
    assert len(pictures) == 32  # all images of the test split
    for path, ((was_right, *before), (is_right, *after)) in pictures.items():
        label = table[path]["label"]
        assert table[path]["split"] == "test" and after == ["after", table[path]["prediction"]]
        assert (is_right == "right") == (table[path]["prediction"] == label)
        assert before[0] == "before" and (was_right == "right") == (before[1] == label)
    assert sum(was == "right" for (was, *_), _ in pictures.values()) == sum(row[1] for row in counts)


def test_the_interval_of_the_change_is_of_both_classifiers_on_the_same_images(tiny, tmp_path, monkeypatch):
    pages = []
    monkeypatch.setattr("dbpt.commands.fit.run_files.render_results", lambda *values: pages.append(values) or "")
    run = fit(tiny, tmp_path / "run", epochs=30, lr=0.05, baselines=False)  # so that before is zero-shot
    ((_, judged, *_, answers),) = pages
    rows = [row for row in tiny.rows() if row["split"] == "test"]
    shown = {example.path: example for group in answers.examples for example in group.examples}
    before, after = (np.array([shown[row["path"]].predictions[i] == row["label"] for row in rows]) for i in (0, 1))
    for row in rows_of(run / "predictions.csv"):
        if row["split"] == "test":  # by which they are sorted
            assert shown[row["path"]].probability == pytest.approx(float(row[f"p_{row['label']}"]), abs=1e-4)
    groups = np.unique([f"{row['label']} {row['attribute']}" for row in rows], return_inverse=True)[1]
    difference = judged.rows[judged.chosen].difference
    assert difference.over_images == worst_group_difference_interval(after, before, groups)
    assert difference.method == "zero-shot"
    assert (before != after).any()


def test_the_command_in_the_report_repeats_the_run(tiny, tmp_path, command):
    attributes = ["meadow=meadow|the green", "lake=lake|the blue; or so"]
    one = fit(tiny, tmp_path / "one run", attributes=attributes, baselines=False, seed=3, eta=2.0)
    (made_by,) = boxes((one / "report.html").read_text().partition("makes the page:</p>")[2])
    program, verb, *arguments = shlex.split(made_by)
    assert (program, verb) == ("dbpt", "fit")
    assert arguments[arguments.index("--out") + 1] == str(one)
    arguments[arguments.index("--out") + 1] = str(tmp_path / "two")
    assert command(verb, *arguments)[0] == 0
    assert contents(tmp_path / "two") == contents(one)


def test_the_report_lists_words_and_every_setting(tiny, tiny_run):
    page = (tiny_run / "report.html").read_text().replace("<wbr>", "")
    words, settings = page.split("<summary>All settings by name</summary>")
    for name in ("disc", "box", "meadow", "lake"):
        assert f"<dt>Words for {name}</dt><dd>{name}</dd>" in words
    assert "<dt>Sentences, attribute</dt><dd>" in words
    toml = dict(line.split(" = ", 1) for line in (tiny_run / "config.toml").read_text().splitlines())
    for name, value in toml.items():
        if not value.startswith("["):
            shown = value.strip('"') if value[0] == '"' else value.title() if value in ("true", "false") else value
            assert f"<dt>{name}</dt><dd>{shown}</dd>" in settings, name
    assert "<dt>embeddings</dt><dd>–</dd>" in settings
    assert "<dt>attributes</dt><dd>meadow, lake</dd>" in settings

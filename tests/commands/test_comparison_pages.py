"""The pages of a comparison on the tiny task: pictures before training, commands that repeat it, and no images."""

import json
import re
import shlex
from collections import Counter
from pathlib import Path

from comparisons import cell, compare, contents
from html_page import Page, boxes
from tiny import CLASSES, Tiny

from dbpt.cli import main
from dbpt.commands.compare import cells
from dbpt.errors import InputError


def commands(page: str) -> list[list[str]]:
    """The commands in the boxes of a page."""
    return [shlex.split(line)[1:] for line in "\n".join(boxes(page)).splitlines()]


def matrices(page: str) -> dict[str, list[int]]:
    """The counts of each confusion matrix of a page, row by row, by the name of its classifier."""
    tables = re.findall(r'aria-label="Confusion matrix of ([^"]+)">(.*?)</table>', page, re.DOTALL)
    return {name: [int(n) for n in re.findall(r'<td class="[^"]+">(\d+)<', table)] for name, table in tables}


def answers(folder: Path, tiny: Tiny, method: str, seed: int) -> dict[str, tuple[str, str]]:
    """The label of each judged image, and the class that a cell takes it for, by its path."""
    stem = f"{method}_seed-{seed}" if method == "zero-shot" else f"{method}_linear_seed-{seed}"
    tensors, rows = cell(folder, stem)[0], tiny.rows()
    found = {}
    for row, right in zip(tensors["rows"].tolist(), tensors["correct"].tolist(), strict=True):
        label = rows[row]["label"]
        found[rows[row]["path"]] = label, label if right else next(each for each in CLASSES if each != label)
    return found


def matrix_of(folder: Path, tiny: Tiny, method: str, seed: int) -> list[int]:
    """The confusion counts of a cell, row by row."""
    counts = Counter(answers(folder, tiny, method, seed).values())
    return [counts[label, taken_for] for label in sorted(CLASSES) for taken_for in sorted(CLASSES)]


def test_the_page_shows_answers_before_and_after_as_in_the_cells(tiny, tmp_path):
    found = compare(tiny, tmp_path / "c", seeds=(3, 5), methods="erm,zero-shot", epochs=60, lr=0.1)
    page = (found.folder / "compare.html").read_text()
    before, after = (answers(found.folder, tiny, method, 3) for method in ("erm", "zero-shot"))
    assert before != after and found.chosen.method == "zero-shot"
    assert list(matrices(page).values()) == [matrix_of(found.folder, tiny, name, 3) for name in ("erm", "zero-shot")]
    assert "after is zero-shot, on the test images, with seed 3." in page
    part = page[page.index("The same images before and after") : page.index("What is taken for what")]
    shown = re.findall(r"</span> before: (\w+)<.*?</span> after: (\w+)<.*?path\">(.*?)</span>", part, re.DOTALL)
    assert len(shown) == 32 == part.count("<img ")
    for of_erm, of_zero_shot, path in shown:
        path = path.replace("<wbr>", "")
        assert (of_erm, of_zero_shot) == (before[path][1], after[path][1])
    right = sum(label == taken_for for label, taken_for in before.values())
    assert part.count("is-right") == right + sum(label == taken_for for label, taken_for in after.values())


def test_before_is_erm_with_the_same_head_else_the_first_row_and_one_row_stands_alone(tiny, tmp_path):
    def names(methods: str, **choices: object) -> list[str]:
        folder = compare(tiny, tmp_path / "c", methods=methods, overwrite=True, epochs=2, **choices).folder
        return list(matrices((folder / "compare.html").read_text()))

    assert names("groupdro,erm") == ["ERM", "Group DRO"]
    assert names("balanced,groupdro", seeds=None, resample=2) == ["Group DRO", "balanced"]
    assert "with seed 0." in (tmp_path / "c" / "compare.html").read_text()
    assert names("erm", seeds=1) == ["ERM"]
    page = (tmp_path / "c" / "compare.html").read_text()
    assert "before" not in Page(page[page.index("Images right and wrong") : page.index("What is taken for")]).words


def test_the_answers_are_of_the_first_seed_that_is_finished(tiny, tmp_path, monkeypatch):
    def fails(stages, cell, folder, watch, run_cell=cells.run_cell):
        if cell.name in failing:
            raise InputError("the loss is nan")
        run_cell(stages, cell, folder, watch)

    monkeypatch.setattr(cells, "run_cell", fails)
    failing, settings = {"dbpt_linear_seed-0"}, {"methods": "erm,dbpt", "epochs": 60, "lr": 0.1}
    page = (compare(tiny, tmp_path / "c", **settings).folder / "compare.html").read_text()
    assert "after is dbpt, on the test images, with seed 1." in page and list(matrices(page)) == ["ERM", "dbpt"]
    failing = {f"{name}_linear_seed-{seed}" for name in ("dbpt", "erm") for seed in (0, 1)}
    page = (compare(tiny, tmp_path / "d", **settings).folder / "compare.html").read_text()
    assert "What is taken for what" not in page and matrices(page) == {}


def test_the_commands_of_the_page_repeat_the_comparison_and_its_row(tiny, tmp_path):
    found = compare(tiny, tmp_path / "c", seeds=(3,), eta=0.5)
    page = (found.folder / "compare.html").read_text()
    sheets = re.findall(r'<img src="([^"]+)"', (found.folder / "guesses.html").read_text())
    assert re.findall(r'<img src="([^"]+)"', page)[-len(sheets) :] == sheets
    fit, _, guess, again = commands(page)
    main([str(tmp_path / "again") if word == str(found.folder) else word for word in again])
    assert contents(tmp_path / "again") == contents(found.folder)
    main(fit)
    shown = found.chosen if found.chosen.head else found.rows[-1]  # if it wasn't trained, the last that was
    metrics = json.loads((tmp_path / f"c-{shown.method.replace(':', '-')}" / "metrics.json").read_text())
    (row,) = [row for row in metrics["rows"] if row["method"] == shown.record.objective]
    assert row["test"] == cell(found.folder, f"{shown.method.replace(':', '-')}_linear_seed-3")[1]["test"]
    main(guess)
    assert (tmp_path / "c-guesses.csv").is_file()


def test_features_without_images_have_no_pictures(tiny, tiny_features, tmp_path):
    settings = {"embeddings": tiny_features, "methods": "zero-shot,dbpt", "seeds": 1}
    found = compare(tiny, tmp_path / "c", **settings)
    assert not (found.folder / "guesses.html").exists()
    page = (found.folder / "compare.html").read_text()
    assert "The features came without images" in page and "<img" not in page
    assert "so there are no pictures" in page and "✓" not in page
    assert matrices(page) == {name: matrix_of(found.folder, tiny, name, 0) for name in ("zero-shot", "dbpt")}
    assert [words[0] for words in commands(page)] == ["fit", "guess", "compare"]


def test_only_zero_shot_has_no_run_to_go_on_with(tiny, tmp_path):
    found = compare(tiny, tmp_path / "c", methods="zero-shot", seeds=1)
    page = (found.folder / "compare.html").read_text()
    assert [words[0] for words in commands(page)] == ["guess", "compare"]
    assert "zero-shot is" in page

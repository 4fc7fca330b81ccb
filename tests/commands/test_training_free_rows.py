"""Methods without training as rows of a comparison."""

import pytest
from comparisons import cell, compare
from made_up_results import worded

from dbpt.errors import InputError
from dbpt.objectives.training_free import TRAINING_FREE

DOUBT = "CLIP's guesses of meadow / lake can't be trusted: "


@pytest.fixture(scope="module")
def comparison(tiny, tmp_path_factory):
    return compare(tiny, tmp_path_factory.mktemp("free") / "c", methods=(*TRAINING_FREE, "erm"))


def test_each_is_a_row_without_head_that_no_seed_changes(comparison):
    rows = comparison.to_dict()["rows"]
    assert [row["method"] for row in rows] == [*TRAINING_FREE, "erm"]
    assert [row["title"] for row in rows[:-1]] == [method.title for method in TRAINING_FREE.values()]
    for row in rows[:-1]:
        assert row["head"] is row["objective"] is row["group_source"] is None
        assert [repeat["best_epoch"] for repeat in row["repeats"]] == [None, None]
        assert row["deviations"]["average"] is None
        assert row["difference"]["head"] == "linear"
        assert [repeat["warnings"] for repeat in row["repeats"]] == [[], []]
    assert all(f"\n{row['title']} " in str(comparison) for row in rows)


def test_the_figures_are_those_of_its_classifier(comparison):
    averages = set()
    for name, method in TRAINING_FREE.items():
        tensors, figures = cell(comparison.folder, f"{name}_seed-1")
        assert figures["method"] == name
        assert tensors["classifier.weights"].shape == ((2, 2, 16) if name.startswith("group-prompts") else (2, 16))
        assert tensors["correct"].mean() == pytest.approx(figures["test"]["average"])
        averages.add(tensors["classifier.weights"].tobytes() + method.class_logits.__qualname__.encode())
    assert len(averages) == len(TRAINING_FREE)


def test_they_are_refused_for_data_that_name_no_attribute(tiny, bare, tmp_path):
    assert compare(tiny, tmp_path / "zero-shot", bare, methods="zero-shot", attributes=None).rows
    with pytest.raises(InputError, match="no spurious attribute"):
        compare(tiny, tmp_path / "c", bare, methods="roboshot", attributes=None)
    assert not (tmp_path / "c" / "plan.json").exists()


def test_only_those_that_use_the_guesses_tell_doubts_about_them(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("dbpt.guesses.figures.word_doubts", lambda *_: [{"doubts": worded("made up")}])
    for name, told in (("roboshot", False), ("mean-difference", True)):
        found = compare(tiny, tmp_path / name, methods=name, seeds=1)
        assert any(text.startswith(f"{DOUBT}made up") for text in found.warnings) == told

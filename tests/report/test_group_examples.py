"""Which images of a group are shown with their predictions, in which order, and what is counted."""

import io

import numpy as np
import pytest
from PIL import Image

from dbpt.report import page_size
from dbpt.report.group_pictures import group_examples
from dbpt.report.thumbnails import ImageFiles

NAMES = [("cat", "day"), ("cat", "night"), ("dog", "day"), ("dog", "night")]


def examples_of(reds, groups, predictions, **options):
    groups, predictions = np.array(groups), [np.array(each) for each in predictions]
    images = reds and ImageFiles([f"{row % 100}.png" for row in range(len(groups))], reds)
    return group_examples(images, groups, predictions, **{"classes": ["cat", "dog"], "group_names": NAMES} | options)


def rows_of(group):
    return [int(example.path[:-4]) for example in group.examples]


def test_counts_of_images_that_became_right_or_wrong(reds):
    groups, before, after = [0, 0, 0, 3, 3, -1, 1], [0, 1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 1, 1, 0]
    examples = examples_of(reds, groups, [before, after])
    assert [(g.class_name, g.attribute) for g in examples] == NAMES
    assert [(g.n, g.wrong, g.wrong_shown) for g in examples] == [(3, 1, 1), (1, 0, 0), (0, 0, 0), (2, 1, 1)]
    counts = [(g.right, g.gained, g.lost) for g in examples]
    assert counts == [((1, 2), 2, 1), ((1, 1), 0, 0), ((0, 0), 0, 0), ((1, 1), 0, 0)]
    expected = [("0.png", ("cat", "dog")), ("1.png", ("dog", "cat")), ("2.png", ("dog", "cat"))]
    assert sorted((e.path, e.predictions) for e in examples[0].examples) == expected
    assert {row for g in examples for row in rows_of(g)} == {0, 1, 2, 3, 4, 6}
    assert examples_of(reds, groups, [after])[0].right == (2,)


def test_wrong_images_come_first_the_surest_before_the_others(reds):
    wrong, p_true = [7, 11, 40, 41, 55], np.linspace(0.9, 0.1, 100)
    predictions = np.isin(np.arange(100), wrong).astype(int)
    (day, *_) = examples_of(reds, [0] * 100, [predictions], p_true=p_true)
    assert rows_of(day)[:5] == wrong[::-1] and len(set(rows_of(day)[5:]) - set(wrong)) == 4
    assert [example.probability for example in day.examples] == [p_true[row] for row in rows_of(day)]
    (day, *_) = examples_of(reds, [0] * 100, [predictions])
    assert rows_of(day)[:5] == wrong and day.examples[0].probability is None
    (few, *_) = examples_of(reds, [0] * 100, [predictions], p_true=p_true, most_wrong=4)
    assert rows_of(few)[:4] == [55, 41, 40, 11] and (few.wrong, few.wrong_shown, len(few.examples)) == (5, 4, 8)


def test_chance_chooses_the_right_images(reds):
    (one, *_), (other, *_), (again, *_) = (examples_of(reds, [0] * 100, [[0] * 100], seed=seed) for seed in (0, 1, 0))
    assert rows_of(one) == rows_of(again) != rows_of(other)
    assert len(set(rows_of(one))) == 8 and sorted(rows_of(one)) != list(range(8))


def test_without_a_folder_there_are_counts_but_no_pictures():
    (day, *_) = examples_of(None, [0, 0, 1], [[0, 1, 0]])
    assert (day.n, day.right, day.examples) == (2, (1,), ())


def test_all_groups_have_a_few_pictures_and_the_worst_ones_all_of_their_mistakes(reds, monkeypatch):
    groups, wrong = np.repeat([0, 1, 2, 3], 25), [5, 20, 25, 0]
    predictions = (groups >= 2) ^ (np.tile(np.arange(25), 4) < np.repeat(wrong, 25))

    def shown(most):
        monkeypatch.setattr(page_size, "MOST_EXAMPLES", most)
        groups_shown = examples_of(reds, groups, [predictions.astype(int)])
        return [(group.wrong_shown, len(group.examples) - group.wrong_shown) for group in groups_shown]

    assert shown(1000) == [(5, 4), (20, 4), (25, 0), (0, 8)]
    assert shown(60) == [(4, 4), (15, 4), (25, 0), (0, 8)]
    assert shown(40) == [(4, 4), (4, 4), (16, 0), (0, 8)]
    assert shown(10) == [(0, 0), (4, 2), (4, 0), (0, 0)]


@pytest.mark.parametrize("each", [4, 100])
def test_pictures_of_noise_keep_within_the_budget(noise, each):
    groups = np.repeat(np.arange(20), 110)
    images = ImageFiles([f"{row % 4}.png" for row in range(len(groups))], noise)
    names = {"group_names": [(f"c{g}", "") for g in range(20)], "classes": [f"c{g}" for g in range(20)]}
    shown = group_examples(images, groups, [(groups + 1) % 20], most_wrong=each, **names)
    jpegs = [example.image for group in shown for example in group.examples]
    assert len(jpegs) == min(20 * each, page_size.MOST_EXAMPLES)
    assert sum(map(len, jpegs)) <= page_size.EXAMPLES_BUDGET
    assert min(max(Image.open(io.BytesIO(jpeg)).size) for jpeg in jpegs[:8]) >= 64

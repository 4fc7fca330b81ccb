"""Which images of a group are shown with their predictions, and what is counted."""

import numpy as np

from dbpt.report import pictures as module
from dbpt.report.pictures import group_examples

NAMES = [("cat", "day"), ("cat", "night"), ("dog", "day"), ("dog", "night")]


def examples_of(reds, groups, predictions, **options):
    groups, predictions = np.array(groups), [np.array(each) for each in predictions]
    paths, names = [f"{row % 100}.png" for row in range(len(groups))], {"classes": ["cat", "dog"], "group_names": NAMES}
    return group_examples(paths, reds, groups, predictions, **names | options)


def paths_of(group):
    return [example.path for example in group.examples]


def test_counts_of_images_that_became_right_or_wrong(reds):
    groups, before, after = [0, 0, 0, 3, 3, -1, 1], [0, 1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 1, 1, 0]
    examples = examples_of(reds, groups, [before, after])
    assert [(g.class_name, g.attribute) for g in examples] == NAMES
    assert [g.n for g in examples] == [3, 1, 0, 2]
    counts = [(g.right, g.gained, g.lost) for g in examples]
    assert counts == [((1, 2), 2, 1), ((1, 1), 0, 0), ((0, 0), 0, 0), ((1, 1), 0, 0)]
    expected = [("0.png", ("cat", "dog")), ("1.png", ("dog", "cat")), ("2.png", ("dog", "cat"))]
    assert sorted((e.path, e.predictions) for e in examples[0].examples) == expected
    assert {e.path for g in examples for e in g.examples} == {f"{i}.png" for i in (0, 1, 2, 3, 4, 6)}
    assert examples_of(reds, groups, [after])[0].right == (2,)


def test_chance_chooses_the_images_whatever_the_predictions_are(reds):
    groups = [0] * 60 + [1] * 40
    one = examples_of(reds, groups, [[0] * 100, [0] * 100])
    other = examples_of(reds, groups, [[1] * 50 + [0] * 50, list(range(2)) * 50])
    for group, same in zip(one[:2], other[:2], strict=True):
        assert paths_of(group) == paths_of(same)
        assert len(set(paths_of(group))) == 8
    assert paths_of(one[0]) != [f"{row}.png" for row in range(8)]
    assert paths_of(one[0]) != paths_of(examples_of(reds, groups, [[0] * 100], seed=1)[0])
    assert {int(path[:-4]) // 60 for path in paths_of(one[1])} == {1}


def test_without_a_folder_there_are_counts_but_no_pictures():
    (day, *_) = examples_of(None, [0, 0, 1], [[0, 1, 0]])
    assert (day.n, day.right, day.examples) == (2, (1,), ())


def test_many_groups_have_fewer_pictures_and_the_first_ones_have_precedence(reds, monkeypatch):
    monkeypatch.setattr(module, "MOST_EXAMPLES", 12)
    classes = [f"c{i}" for i in range(10)]
    names = {"classes": classes, "group_names": [(each, "") for each in classes]}
    four = examples_of(reds, np.repeat([0, 1, 2, 3], 25), [[0] * 100], **names)
    assert [len(g.examples) for g in four] == [3] * 4 + [0] * 6
    monkeypatch.setattr(module, "MOST_EXAMPLES", 4)
    few = examples_of(reds, np.repeat(range(10), 10), [[0] * 100], first=[9, 4], **names)
    assert [len(g.examples) for g in few] == [1, 1, 0, 0, 1, 0, 0, 0, 0, 1]
    assert {g.n for g in few} == {10}

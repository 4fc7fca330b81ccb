"""Likely slips of new users, and the one line that answers each."""

import pytest
from tiny import ATTRIBUTES, CLASSES

import dbpt


@pytest.fixture(scope="module")
def numbered(tiny):
    """The table of the tiny task with numbers for classes and attributes."""
    numbers = {name: str(code) for names in (CLASSES, ATTRIBUTES) for code, name in enumerate(names)}
    columns = ("label", "attribute")
    return tiny.write("numbered", (row | {name: numbers[row[name]] for name in columns} for row in tiny.rows()))


@pytest.mark.parametrize(("order", "are_swapped"), [(1, False), (-1, True)])
def test_names_in_another_order_than_the_numbers_are_named(tiny, numbered, order, are_swapped):
    words = {"classes": CLASSES[::order], "attributes": ATTRIBUTES[::order]}
    warnings = dbpt.guess_attributes(numbered, **tiny.backbone | words).warnings
    found = {line[: line.index(" look")]: option for option in words for line in warnings if f"(--{option})" in line}
    assert found == ({"'box' and 'disc'": "classes", "'lake' and 'meadow'": "attributes"} if are_swapped else {})


def test_predictions_by_other_numbers_are_named(tiny):
    data = dbpt.load_dataset(tiny.table)
    for predictions in (data.labels, 1 - data.labels):
        warnings = dbpt.audit(tiny.table, predictions=predictions, **tiny.guessing).to_dict()["warnings"]
        assert ("order of predictions" in [each["kind"] for each in warnings]) == (predictions is not data.labels)

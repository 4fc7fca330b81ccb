"""The examples in docstrings hold."""

import doctest
import importlib
from pathlib import Path

import pytest

import dbpt

PACKAGE = Path(dbpt.__file__).parent
FILES = [path.relative_to(PACKAGE.parent) for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text()]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_examples_hold(file):
    found = doctest.testmod(importlib.import_module(".".join(file.with_suffix("").parts)))
    assert (found.failed, found.attempted > 0) == (0, True)


def test_samplers_group_weights_and_pseudo_attributes_have_examples():
    assert {"sampling", "groups", "guesses"} <= {file.parts[1] for file in FILES}

"""The examples in docstrings hold, and every public function describes its arguments, result and errors."""

import dataclasses
import doctest
import importlib
import inspect
import re
from pathlib import Path
from types import FunctionType, MethodType

import pytest

import dbpt
from dbpt.settings.all_settings import AUDIT_SETTINGS, DISCOVER_SETTINGS, GUESS_SETTINGS
from dbpt.settings.config import FitConfig, shows_settings
from dbpt.settings.keywords import FitSettings, SharedSettings

PACKAGE = Path(dbpt.__file__).parent
FILES = [path.relative_to(PACKAGE.parent) for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text()]
ROOMS = ["evaluation", "groups", "sampling", "data", "heads", "objectives", "guesses", "clip", "features"]
RETURNED = [  # by public functions, and not public themselves
    ("cautions", ["Caution"]),
    ("commands.embed", ["DataCheck", "EmbeddedImages"]),
    ("features.embedding", ["Embeddings"]),
    ("features.maintenance", ["CacheInfo"]),
    ("commands.label.result", ["Judged"]),
    ("commands.label.sample", ["Design", "Stratum"]),
    ("runs.classifier", ["FeatureClassifier", "Prediction"]),
    ("runs.exports", ["TorchClassifier", "ZeroShotWeights"]),
]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_examples_hold(file):
    found = doctest.testmod(importlib.import_module(".".join(file.with_suffix("").parts)))
    assert (found.failed, found.attempted > 0) == (0, True)


def section(docstring: str, name: str) -> str:
    found = re.search(rf"^{name}:\n((?:    .*\n|\n)+)", docstring + "\n", re.MULTILINE)
    return found[1] if found else ""


def documented(docstring: str) -> set[str]:
    """Return the names that the sections describe: ``name:``, ``name (type):`` or ``name, name:``."""
    text = "".join(section(docstring, each) for each in ("Args", "Attributes", "Settings"))
    entries = re.findall(r"^    (\w+(?:, \w+)*)(?: \(.*)?(?::|$)", text, re.MULTILINE)
    return {name for entry in entries for name in entry.split(", ")}


def lacking(value, described: str) -> list[str]:
    """Return the arguments that the docstring leaves out, and the sections that it needs."""
    signature = inspect.signature(value)
    names = {name for name in signature.parameters if not name.startswith("_")} - {"self", "cls"}
    if hasattr(value, "__signature__"):  # by `shows_settings`; the last test is about the settings
        names -= set(FitSettings.__annotations__)
    found = sorted(names - documented(described))
    says_result = described.startswith(("Return ", "Yield ")) or section(described, "Returns")
    if names and not isinstance(value, type) and signature.return_annotation not in ("None", None) and not says_result:
        found.append("Returns:")
    return found + ["Raises:"] * bool(names and re.search(r"(^|[.] )Raises `", described, re.MULTILINE))


def public() -> dict[str, object]:
    """Return the public functions and classes, each by its first name."""
    homes = ["dbpt", *(f"dbpt.{room}" for room in ROOMS)]
    names = [(home, name) for home in homes for name in importlib.import_module(home).__all__]
    names += [(f"dbpt.{home}", name) for home, listed in RETURNED for name in listed]
    found = {}
    for home, name in names:
        value = getattr(importlib.import_module(home), name)
        if inspect.isroutine(value) or isinstance(value, type):
            found.setdefault(value, f"{home}.{name}")
    return {name: value for value, name in found.items()}


PUBLIC = public()


def test_the_python_reference_has_every_public_name():
    pages = (Path(__file__).parents[1] / "docs/reference/python").glob("*.md")
    listed = re.findall(r"^\.\. auto\w+:: (\S+)$", "".join(page.read_text("utf-8") for page in pages), re.MULTILINE)
    assert sorted(PUBLIC.keys() - listed) == []
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if not isinstance(value, type)])
def test_a_public_function_describes_its_arguments_and_result(name):
    assert not lacking(PUBLIC[name], inspect.getdoc(PUBLIC[name]) or "")


@pytest.mark.parametrize("name", [name for name, value in PUBLIC.items() if isinstance(value, type)])
def test_a_public_class_and_its_methods_describe_their_arguments_and_results(name):
    found = PUBLIC[name]
    bases = [each for each in found.__mro__ if each.__module__.startswith("dbpt")]
    own = "\n".join(inspect.cleandoc(each.__doc__ or "") for each in bases)
    if "__init__" in vars(found) and found is not FitConfig:  # help(dbpt.fit) describes its fields
        assert not lacking(found, re.sub("Arguments of (all|both) samplers", "Args", own))
    names = sorted({name for each in bases for name in vars(each) if not name.startswith("_")})
    for method in (name for name in names if isinstance(getattr(found, name), (FunctionType, MethodType))):
        said = [getattr(each, method).__doc__ for each in bases if method in vars(each)]  # what a base says still holds
        problems = [lacking(getattr(found, method), inspect.cleandoc(each or "")) for each in said]
        assert [] in problems, f"{method}: {problems}"


@pytest.mark.parametrize(
    ("function", "read"),
    [
        (dbpt.fit, set(FitSettings.__annotations__)),
        (dbpt.compare, set(SharedSettings.__annotations__)),
        (dbpt.audit, AUDIT_SETTINGS),
        (dbpt.discover, DISCOVER_SETTINGS),
        (dbpt.guess_attributes, GUESS_SETTINGS),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_help_describes_each_setting_with_its_type_default_and_help(function, read):
    text = section(inspect.getdoc(function), "Settings")
    entries = re.split(r"^    (?=\w)", text, flags=re.MULTILINE)[1:]
    assert {entry.split()[0] for entry in entries} == read
    flat = [" ".join(entry.split()) for entry in entries]
    for each in dataclasses.fields(FitConfig):
        if each.name in read:
            (entry,) = (entry for entry in flat if entry.startswith(f"{each.name} ("))
            assert " ".join(each.metadata["help"].split()) in entry
            assert FitSettings.__annotations__[each.name].__forward_arg__ in entry
            assert f"default {each.default!r})" in entry or "[default: " in entry


def test_help_names_the_choices_that_packages_may_add_to():
    text = " ".join(section(inspect.getdoc(dbpt.fit), "Settings").split())
    assert "head (str, default 'prompt'): part of the classifier to train (prompt, linear, adapter)" in text
    assert "eta (float, default 1.0): strength of the group weights" in text


def test_a_function_without_a_docstring_stays_without():
    """With ``python -OO`` no function has one."""

    def plain(**settings):
        return settings

    assert shows_settings(FitSettings)(plain).__doc__ is None

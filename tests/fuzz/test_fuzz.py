"""Hostile files for every parser: those of the corpus, and mutations of them. CONTRIBUTING.md says how to add a target.

``DBPT_FUZZED_FILES`` says how many mutations there are over all targets; a number other than the usual one also takes
others each time.
"""

import os
import sys
import warnings
from pathlib import Path

import pytest

if not sys.platform.startswith("linux"):
    pytest.skip("the limits of time and memory are Linux's", allow_module_level=True)

import resource

import targets_of_audits  # noqa: F401 (importing them registers the targets)
import targets_of_commands  # noqa: F401
import targets_of_data  # noqa: F401
import targets_of_features  # noqa: F401
import targets_of_models  # noqa: F401
import targets_of_runs  # noqa: F401
from fuzz_target import CORPUS, TARGETS, Workplace, corpus_of, refusal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutated

from dbpt.errors import InputError

USUAL = 500
FILES = int(os.environ.get("DBPT_FUZZED_FILES", USUAL))
MEMORY = 3 << 30
FOREIGN = corpus_of("foreign")
# What is no file of any format of ours is right here all the same.
NO_FORMAT = {"words", "data_check_arguments", "folder_names", "shard_pattern"}
EMPTY_IS_FINE = {("config", "empty"), ("config", "blank"), ("tar", "zeros")}


@pytest.fixture(autouse=True)
def memory_limit():
    """A file that makes us allocate more raises `MemoryError`."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(params=sorted(TARGETS))
def fuzzed(request, tmp_path):
    """(name, parser, corpus) of each target."""
    corpus = corpus_of(request.param)
    parse = TARGETS[request.param].prepare(Workplace(tmp_path, request.getfixturevalue, corpus))
    return request.param, parse, corpus


def test_the_corpus_has_its_known_answers(fuzzed):
    name, parse, corpus = fuzzed
    assert any(file.startswith("good-") for file in corpus)
    for file, content in corpus.items():
        line = refusal(parse, content)
        assert (line is None) == file.startswith("good-"), f"{file}: {line}"
    if name not in NO_FORMAT:
        for file, content in FOREIGN.items():
            assert refusal(parse, content) or (name, file) in EMPTY_IS_FINE, f"foreign/{file} is accepted"


def test_any_mutation_gives_one_line_or_what_it_should(fuzzed):
    name, parse, corpus = fuzzed

    @given(mutated(corpus, list(FOREIGN.values())), st.booleans())
    @settings(
        max_examples=-(-FILES // len(TARGETS)),
        derandomize=FILES == USUAL,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    def throw(content, repaired):
        refusal(parse, TARGETS[name].repair(content) if repaired else content)

    throw()


def test_what_is_a_finding():
    def fail(content):
        raise KeyError(content)

    def warn(content):
        warnings.warn("of numpy", stacklevel=1)

    def refuse(content):
        raise InputError("no table")

    def allocate(content):
        bytearray(2 * MEMORY)

    for parse, raised in ((fail, KeyError), (warn, UserWarning), (allocate, MemoryError)):
        with pytest.raises(raised):
            refusal(parse, b"")
    assert refusal(refuse, b"") == "no table" and refusal(len, b"") is None


def test_each_folder_of_the_corpus_has_its_target():
    assert {folder.name for folder in CORPUS.iterdir()} == {*TARGETS, "foreign"}

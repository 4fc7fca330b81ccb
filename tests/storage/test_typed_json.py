"""JSON as dataclasses: values of the right type and within limits, or one line that says where and what."""

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest

from dbpt.errors import InputError
from dbpt.storage.files import check_version
from dbpt.storage.typed_json import AnyFloat, Count, Limits, Share, read_json, typed, typed_json


@dataclasses.dataclass(frozen=True)
class Inner:
    count: Count
    share: Share | None


@dataclasses.dataclass(frozen=True)
class Outer:
    kind: Literal["a", "b"]
    name: str
    flag: bool
    number: int
    real: float
    score: tuple[AnyFloat, float]
    few: Annotated[int, Limits(1, 3)]
    inner: tuple[Inner, ...]
    words: dict[str, list[str]]
    rest: Any

    def __post_init__(self) -> None:
        if self.name == "never":
            raise InputError("name: never")


GOOD = {
    "kind": "a",
    "name": "caf\udce9",
    "flag": True,
    "number": -1,
    "real": 1,
    "score": [-math.inf, 0.5],
    "few": 3,
    "inner": [{"count": 0, "share": None}, {"count": 9, "share": 1}],
    "words": {"x": ["y", "z"]},
    "rest": {"deep": [None]},
}


def outer(**changes: object) -> Outer:
    return typed({**GOOD, **changes}, Outer, Path("f.json"), "make it again")


def test_what_is_right_becomes_the_dataclass():
    inner = (Inner(0, None), Inner(9, 1.0))
    last = ({"x": ["y", "z"]}, GOOD["rest"])
    assert outer() == Outer("a", "caf\udce9", True, -1, 1.0, (-math.inf, 0.5), 3, inner, *last)
    assert isinstance(outer().real, float)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "c"}, "kind: expected one of a, b, found 'c'"),
        ({"name": 3}, "name: expected a text, found 3"),
        ({"name": "\ud800"}, "name: expected a text, found '\\ud800'"),
        ({"name": "never"}, "Outer: expected what can be used (name: never)"),
        ({"flag": 1}, "flag: expected true or false, found 1"),
        ({"number": 1.5}, "number: expected an integer from -9223372036854775808 to 9223372036854775807, found 1.5"),
        ({"number": True}, "number: expected an integer from"),
        ({"real": math.nan}, "real: expected a number from -1.7976931348623157e+308 to 1.7976931348623157e+308, found"),
        ({"score": [1.0]}, "score: expected a list of 2, found [1.0]"),
        ({"score": [math.nan, 1.0]}, "score[0]: expected a number from -inf to inf, found nan"),
        ({"few": 0}, "few: expected an integer from 1 to 3, found 0"),
        ({"inner": {}}, "inner: expected a list, found {}"),
        ({"inner": [{"count": 1, "share": 1.5}]}, "inner[0].share: expected a number from 0 to 1, found 1.5"),
        ({"inner": [3]}, "inner[0]: expected an object, found 3"),
        ({"inner": [{"count": 1}]}, "inner[0].share: expected a value, found none"),
        ({"words": {"x": [None]}}, "words.x[0]: expected a text, found None"),
        ({"more": 1}, "more: expected no such entry, found"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(change, says):
    with pytest.raises(InputError, match=rf"^f\.json: {re.escape(says)}.*; the file was changed, make it again$"):
        outer(**change)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 10**5, b"9" * 5000, b"[1]", b"null"])
def test_what_is_no_json_object_is_told(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(InputError, match=f"{tmp_path / 'f'}: is .*expected an object"):
        read_json(tmp_path / "f", "record")


@pytest.mark.parametrize("metadata", [{}, {"a": "{"}, {"a": "[" * 10**5}])
def test_an_entry_of_metadata_that_is_no_json_is_told(metadata):
    with pytest.raises(InputError, match="f: has no readable a; the file was changed, make it again"):
        typed_json(metadata, "a", Inner, Path("f"), "make it again")
    assert typed_json({"a": json.dumps(GOOD)}, "a", Outer, Path("f"), "make it again") == outer()


@pytest.mark.parametrize("found", [None, "1", True, 1.0, 0, -1])
def test_other_versions_are_refused(found):
    check_version(Path("f"), 1, 1)
    with pytest.raises(InputError, match="f: not of schema version 1, which this version of dbpt reads"):
        check_version(Path("f"), found, 1)
    with pytest.raises(InputError, match="f: written by a newer dbpt"):
        check_version(Path("f"), 2, 1)
    with pytest.raises(InputError, match=r"f: written by an older dbpt .*; make it again"):
        check_version(Path("f"), 1, 2)

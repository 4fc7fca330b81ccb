"""JSON as dataclasses: values of the right type and within limits, or one line that says where and what."""

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Literal

import pytest

from dbpt.errors import InputError
from dbpt.storage.files import check_version
from dbpt.storage.typed_json import Count, Share, read_json, typed, typed_json


@dataclasses.dataclass(frozen=True)
class Inner:
    count: Count
    share: Share | None


@dataclasses.dataclass(frozen=True)
class Outer:
    kind: Literal["a", "b"]
    name: str
    score: tuple[float, float]
    inner: tuple[Inner, ...]

    def __post_init__(self) -> None:
        if self.name == "never":
            raise InputError("name: never")


GOOD = {
    "kind": "a",
    "name": "caf\udce9",
    "score": [-math.inf, 1],
    "inner": [{"count": 0, "share": None}, {"count": 9, "share": 1}],
}


def outer(**changes: object) -> Outer:
    return typed({**GOOD, **changes}, Outer, Path("f.json"), "make it again")


def test_what_is_right_becomes_the_dataclass():
    assert outer(more=1) == Outer("a", "caf\udce9", (-math.inf, 1.0), (Inner(0, None), Inner(9, 1.0)))
    assert isinstance(outer().score[1], float)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": "c"}, "Invalid enum value 'c' - at `$.kind`"),
        ({"name": "never"}, "name: never"),
        ({"score": [1.0]}, "Expected `array` of length 2, got 1 - at `$.score`"),
        ({"inner": [{"count": 1, "share": 1.5}]}, "Expected `float` <= 1.0 - at `$.inner[0].share`"),
        ({"inner": [{"count": 1, "share": math.nan}]}, "Expected `float` >= 0.0 - at `$.inner[0].share`"),
        ({"inner": [{"count": True, "share": 1}]}, "Expected `int`, got `bool` - at `$.inner[0].count`"),
        ({"inner": [{"count": 2**63, "share": 1}]}, "Expected `int` <= 9223372036854775807 - at `$.inner[0].count`"),
        ({"inner": [{"count": 1}]}, "Object missing required field `share` - at `$.inner[0]`"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(change, says):
    with pytest.raises(InputError, match=rf"^f\.json: {re.escape(says)}; the file was changed, make it again$"):
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

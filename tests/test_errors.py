"""An error is one line to read whatever value is in it, and controls no terminal."""

import pytest

from dbpt.errors import HEAD, TAIL, InputError, nearest
from dbpt.features import UnreadableImage


@pytest.mark.parametrize("kind", [InputError, UnreadableImage])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("two\nlines\tand \x1b[2J", r"two\nlines\tand \x1b[2J"),
        ("\x85 \u2028 \x7f", r"\x85 \u2028 \x7f"),
        ("鳥 🐦 caf\udce9 \\n 'a'", "鳥 🐦 caf\udce9 \\n 'a'"),
    ],
)
def test_control_characters_are_escaped_and_letters_stay(kind, value, shown):
    assert str(kind(f"file line 1: {value}")) == f"file line 1: {shown}"


def test_a_value_as_long_as_a_file_loses_its_middle():
    whole = "a" * HEAD + "b" * TAIL
    assert str(InputError(whole)) == whole
    assert str(InputError("a" * HEAD + "-" * 10**6 + "b" * TAIL)) == "a" * HEAD + " [...] " + "b" * TAIL


@pytest.mark.parametrize(("word", "meant"), [("GLAA", "gla"), ("group-dro", "groupdro"), ("Nothing", ""), ("12", "")])
def test_the_nearest_name_whatever_the_case(word, meant):
    assert nearest(word, ["gla", "groupdro", "123"]) == (f" (did you mean {meant!r}?)" if meant else "")

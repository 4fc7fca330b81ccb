"""The shipped catalogue, and those of users: replaced, extended, refused."""

from pathlib import Path

import pytest

from dbpt.data.words import check_templates, entries_of, parse_vocabulary
from dbpt.errors import InputError
from dbpt.guesses.catalogue import Family, read_catalogue

HAND = '[hand]\nattributes = ["left=left|left hand", "right"]\nattribute_template = ["a {} hand"]\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_the_shipped_catalogue_has_forty_families_of_two_to_eight_names_with_several_wordings() -> None:
    families = read_catalogue()
    assert 40 <= len(families) <= 60
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert 2 <= len(family.names) <= 8, family.name
        check_templates(family.templates, family.name)
        assert parse_vocabulary(entries_of(family.attributes, family.name), family.name) == family.attributes
        assert family.name == family.name.lower().replace(" ", "-")
    wordings = [len(wordings) for family in families for wordings in family.attributes.values()]
    assert sum(n > 1 for n in wordings) > 0.7 * len(wordings)


def test_a_file_replaces_the_catalogue_or_extends_it(tmp_path: Path) -> None:
    hand = Family("hand", {"left": ("left", "left hand"), "right": ("right",)}, ("a {} hand",))
    assert read_catalogue(written(tmp_path, HAND)) == (hand,)
    shipped = read_catalogue()
    assert read_catalogue(written(tmp_path, f"extend = true\n{HAND}")) == (*shipped, hand)
    own = read_catalogue(written(tmp_path, 'extend = true\n[gender]\nattributes = ["woman", "man"]\n'))
    assert [family.name for family in own] == [family.name for family in shipped]
    gender = next(family for family in own if family.name == "gender")
    assert gender == Family("gender", {"woman": ("woman",), "man": ("man",)}, ("a photo of a {}.",))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", r"has no family; write \[NAME\]"),
        ("extend = false", "has no family"),
        ("[a", "cannot read as a TOML catalogue"),
        ("[ground]\nland\nwater", r"cannot read .*; write \[NAME\], and below it attributes = \['one'"),
        ("[ground]\nland = 'meadow'", r"\[ground\]: unknown key 'land'; .*; write attributes = \['one'"),
        ("extend = 1", "extend is 1; expected true or false"),
        ("hand = 3", r"\[hand\]: expected a family with attributes = \[\.\.\.\], found 3"),
        ("[hand]", r"\[hand\]: attributes is missing"),
        ('[hand]\nattributes = "left"', r"\[hand\]: attributes is 'left'; expected a list of strings"),
        ('[hand]\nattributes = ["left"]', r"\[hand\]: attributes: needs at least two names.*only 'left'"),
        ('[hand]\nattribute = ["left"]', r"unknown key 'attribute'; expected .* \(did you mean 'attributes'\?\)"),
        ('[hand]\nattributes = ["a", "b"]\nattribute_template = ["a"]', r"attribute_template: 'a' has 0"),
        ('[""]\nattributes = ["a", "b"]', "the name of a family must be visible"),
        ('["a\\nb"]\nattributes = ["a", "b"]', "the name of a family must be visible"),
    ],
)
def test_a_bad_catalogue_gets_one_line(tmp_path: Path, text: str, match: str) -> None:
    with pytest.raises(InputError, match=rf"mine\.toml.*{match}"):
        read_catalogue(written(tmp_path, text))


def test_a_missing_catalogue_gets_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml: cannot read the TOML catalogue: No such file"):
        read_catalogue(tmp_path / "none.toml")

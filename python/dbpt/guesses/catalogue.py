"""The catalogue of families of attributes, and the features of their sentences."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dbpt.data.labels_and_splits import CLASS_TEMPLATES
from dbpt.data.words import Vocabulary, Words, check_templates, parse_vocabulary
from dbpt.errors import CONTROL, InputError, nearest
from dbpt.guesses.doubts import AGREEMENT_TEMPLATES
from dbpt.storage.typed_json import read_toml

if TYPE_CHECKING:
    from dbpt.clip import Backbone

SHIPPED = Path(__file__).with_name("catalogue.toml")
KEYS = ("attributes", "attribute_template")
EXTEND = "extend"
LIST = "attributes = ['one', 'another=wording|wording']"


@dataclass(frozen=True)
class Family:
    """Names of an attribute with their wordings, and the sentence templates that they fill.

    They are what ``--attributes`` and ``--attribute-template`` take.
    """

    name: str
    attributes: Vocabulary
    templates: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The names of the attribute, in index order."""
        return list(self.attributes)

    @property
    def wordings(self) -> list[str]:
        """All wordings, in the order of their names."""
        return [wording for wordings in self.attributes.values() for wording in wordings]

    def only(self, kept: Iterable[int]) -> "Family":
        """Return the family with only the names of these indices."""
        names = self.names
        return Family(self.name, {names[k]: self.attributes[names[k]] for k in kept}, self.templates)


def read_catalogue(path: str | Path | None = None) -> tuple[Family, ...]:
    """Return the families of a TOML file, by default those of the package.

    A file has a table for each family, with the keys ``attributes`` and optionally ``attribute_template`` as a config
    file has them. It replaces the package's catalogue, or adds to it with ``extend = true`` at the top; then a family
    of the same name is replaced. Raises `InputError` with the file, the family and what is wrong with it.

    >>> next(family for family in read_catalogue() if family.name == "colour-tone").names
    ['warm', 'cold']
    """
    families = _families(SHIPPED if path is None else Path(path))
    if not families:
        raise InputError(f"{path}: has no family; write [NAME] and below it attributes = ['one', 'another']")
    return tuple(families.values())


def catalogue_words() -> list[str]:
    """Return the first wording of each name of the package's catalogue, to compare other names with."""
    families = _families(SHIPPED).values()
    return list(dict.fromkeys(wordings[0] for family in families for wordings in family.attributes.values()))


def _families(path: Path) -> dict[str, Family]:
    """Read a catalogue: its families by name, after those of the package if it extends them."""
    content = read_toml(path, "TOML catalogue", f"write [NAME], and below it {LIST}")
    extends = content.pop(EXTEND, False)
    if not isinstance(extends, bool):
        raise InputError(f"{path}: {EXTEND} is {extends!r:.200}; expected true or false")
    families = _families(SHIPPED) if extends else {}
    return families | {name: _family(name, table, f"{path}: [{name}]") for name, table in content.items()}


def _family(name: str, table: Any, where: str) -> Family:
    """Check the ``table`` of one family; ``where`` begins its error messages."""
    if not name.strip() or CONTROL.search(name):
        raise InputError(f"{where}: the name of a family must be visible, without control characters")
    if not isinstance(table, dict):
        raise InputError(f"{where}: expected a family with attributes = [...], found {table!r:.200}")
    for key in table:
        if key not in KEYS:
            hint = nearest(key, list(KEYS)) or f"; write {LIST}"
            raise InputError(f"{where}: unknown key {key!r}; expected {' or '.join(KEYS)}{hint}")
    if "attributes" not in table:
        raise InputError(f"{where}: attributes is missing; write {LIST}")
    templates = table.get("attribute_template", CLASS_TEMPLATES)
    for key, texts in (("attributes", table["attributes"]), ("attribute_template", templates)):
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{where}: {key} is {texts!r:.200}; expected a list of strings")
    check_templates(templates, f"{where}: attribute_template")
    return Family(name, parse_vocabulary(table["attributes"], f"{where}: attributes"), tuple(templates))


Array = NDArray[np.float32]
MOST_CLASS_DIRECTIONS = 0.25  # of the D directions; with as many classes as directions, nothing would be left
ZERO = 1e-5


@dataclass(frozen=True)
class EmbeddedFamily:
    """A family of K names with its zero-shot weights.

    ``weights`` (K, D) are those of its own sentences, ``by_template`` those of each of the `AGREEMENT_TEMPLATES`.
    """

    family: Family
    weights: Array
    by_template: tuple[Array, ...]


def embed_families(backbone: "Backbone", families: Sequence[Family]) -> list[EmbeddedFamily]:
    """Return the families with the text features of all their sentences."""
    # Families share sentences, so each one is encoded once; and in one list, whose features the backbone stores.
    position: dict[str, int] = {}
    for family in families:
        for text in _filled((*family.templates, *AGREEMENT_TEMPLATES), family.wordings):
            position.setdefault(text, len(position))
    features_PD: Array = backbone.encode_text(list(position)).numpy()

    def direction(texts: Iterable[str]) -> Array:
        mean_D: Array = features_PD[[position[text] for text in texts]].mean(axis=0)
        return np.asarray(mean_D / np.linalg.norm(mean_D))

    def weights(family: Family, templates: Sequence[str]) -> Array:
        return np.stack([direction(_filled(templates, wordings)) for wordings in family.attributes.values()])

    return [
        EmbeddedFamily(
            family,
            weights(family, family.templates),
            tuple(weights(family, (template,)) for template in AGREEMENT_TEMPLATES),
        )
        for family in families
    ]


def _filled(templates: Sequence[str], wordings: Sequence[str]) -> list[str]:
    return [template.replace("{}", wording) for wording in wordings for template in templates]


def without_classes(backbone: "Backbone", words: Words) -> Array:
    """Return the projection (D, D) that removes all directions in which the wordings of the classes differ.

    A wording is the mean of its sentences, as templates don't tell classes apart. With many classes only the most
    important directions are removed, a quarter of the D directions.
    """
    features_PD: Array = backbone.encode_text(words.class_texts()[0]).numpy()
    wordings_WD = features_PD.reshape(-1, len(words.templates), backbone.embed_dim).mean(axis=1)
    _, lengths, directions = np.linalg.svd(wordings_WD - wordings_WD.mean(axis=0), full_matrices=False)
    directions = directions[lengths > ZERO][: int(MOST_CLASS_DIRECTIONS * backbone.embed_dim)]
    return np.asarray(np.eye(backbone.embed_dim, dtype=np.float32) - directions.T @ directions)

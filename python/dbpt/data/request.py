"""``DataRequest``: which data the user asked for, and in which words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dbpt.data.columns import ROLES
from dbpt.data.words import Vocabulary


@dataclass(frozen=True)
class DataRequest:
    """The arguments of `load_dataset` that a reader needs, checked one by one; None where the user said nothing.

    Attributes:
        source: the name of a benchmark, or a path.
        root: the folder of a benchmark, or the one that a table's paths are relative to.
        classes: names and wordings in index order; the data use these names, or numbers 0..C-1 that index them.
        attributes: the same for attributes.
        templates: sentences for classes.
        attribute_templates: sentences for attributes.
        celeba_target: the attribute of CelebA that is the class.
        celeba_attributes: the spurious attributes of CelebA.
        columns: role to the column that holds it, where it is called something else; empty for an ignored attribute.
        images: False if no image file is needed.
    """

    source: str
    root: Path | None = None
    classes: Vocabulary | None = None
    attributes: Vocabulary | None = None
    templates: tuple[str, ...] | None = None
    attribute_templates: tuple[str, ...] | None = None
    celeba_target: str | None = None
    celeba_attributes: tuple[str, ...] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    images: bool = True

    @property
    def column_names(self) -> dict[str, str]:
        """The column of every role that is not ignored."""
        names = {role: self.columns.get(role, role) for role in ROLES}
        return {role: name for role, name in names.items() if name}

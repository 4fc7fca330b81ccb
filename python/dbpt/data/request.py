"""``DataRequest``: which data the user asked for, and in which words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dbpt.data.columns import ROLES
from dbpt.data.words import Vocabulary


@dataclass(frozen=True)
class DataRequest:
    """The arguments of `load_dataset` that a reader needs; None where the user said nothing.

    ``source`` is the name of a benchmark or a path. The others mean what they mean in `load_dataset`.
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

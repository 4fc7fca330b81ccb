"""The images that an audit or a search is about, and whose predictions, as their JSON files have them."""

from dataclasses import dataclass
from typing import Literal

from dbpt.files.typed_json import Count
from dbpt.runs.metrics import ClustersSummary

PredictionsBy = Literal["zero-shot", "run", "file", "probe"]


@dataclass(frozen=True, kw_only=True)
class Search:
    """The ``family`` that ``--attributes auto`` chose, and why; ``on_audited`` images, p-values are too small."""

    family: str
    on_audited: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class AuditedData:
    """The audited images: those of ``split`` (``all`` is every split), with a known label.

    Groups over ``clusters`` have no ``attributes``. ``is_divided`` is False for data without splits, whose images are
    all in the training split. ``search`` is the one that chose the attribute, if any did.
    """

    name: str
    root: str
    split: Literal["train", "val", "test", "all"]
    n: Count
    failed_images: Count
    classes: list[str]
    attributes: list[str]
    notes: list[str]
    clusters: ClustersSummary | None = None
    is_divided: bool = True
    search: Search | None = None

    @property
    def is_searched(self) -> bool:
        """True if a search chose the attribute on the audited images, so that p-values are too small."""
        return self.search is not None and self.search.on_audited

    @property
    def groups(self) -> list[tuple[str, str]]:
        """(class name, attribute name) of each group, in the order g = y*A + a."""
        if self.clusters is not None and not self.attributes:
            return self.clusters.groups(self.classes)
        return [(y, a) for y in self.classes for a in self.attributes]

"""The schema of ``metrics.json``, which `dbpt.fit` writes, and the entries that it shares with ``compare.json``.

`dbpt.evaluate` returns it without writing it. Fractions are in 0..1; None means missing, which is never 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from dbpt.files.typed_json import Count, Share, check_version, read_json, typed
from dbpt.groups import Group, GroupMetrics, PseudoQuality, group_name
from dbpt.objectives import OBJECTIVES
from dbpt.pseudo_attributes.cross_validation import CrossValidated
from dbpt.pseudo_attributes.doubt import Doubt

SCHEMA_VERSION = 4
Split = Literal["train", "val", "test"]
GroupKind = Literal["true", "pseudo"]
Average = Literal["plain", "adjusted"]


@dataclass(frozen=True, kw_only=True)
class FactorSummary:
    """One of several attributes, and its values."""

    name: str
    values: list[str]


@dataclass(frozen=True, kw_only=True)
class ClustersSummary:
    """The clusters within each class: their ``names`` (C, K), and how distinct they are, ``separation`` (C,).

    Separation is None for a class with too few images to judge it.
    """

    names: list[list[str]]
    separation: list[float | None]

    def groups(self, classes: Sequence[str]) -> list[tuple[str, str]]:
        """Return (class name, cluster) of each group, in the order g = y*A + a."""
        return [(y, a) for y, names in zip(classes, self.names, strict=True) for a in names]


@dataclass(frozen=True, kw_only=True)
class DataSummary:
    """The data set; ``counts`` (G,) of each split are over the groups of ``group_kind``.

    Without ``attributes`` and ``clusters`` the groups are the classes. Groups over clusters have no ``attributes``.
    With ``factors`` the attributes are the combinations of their values, with the first factor most significant.
    ``shots`` are the training images of each class, if they were drawn.
    """

    name: str
    root: str
    classes: list[str]
    attributes: list[str]
    factors: list[FactorSummary]
    counts: dict[str, list[Count]]
    train_counts_pseudo: list[Count]
    notes: list[str]
    clusters: ClustersSummary | None = None
    shots: Count | None = None

    @property
    def has_attributes(self) -> bool:
        """False if the groups are the classes."""
        return bool(self.attributes or self.clusters)

    @property
    def smallest_group(self) -> int:
        """The training rows of the smallest pseudo-group that has any."""
        return min((n for n in self.train_counts_pseudo if n), default=0)

    @property
    def groups(self) -> list[tuple[str, str]]:
        """(class name, attribute name) of each group, in the order g = y*A + a; "" without attributes."""
        return [(y, a) for y in self.classes for a in self.attributes] or self.pseudo_groups

    @property
    def pseudo_groups(self) -> list[tuple[str, str]]:
        """(class name, attribute name) of each pseudo-group, in the order g = y*A + a; "" without attributes."""
        if self.clusters is None:
            return [(y, a) for y in self.classes for a in self.attributes or [""]]
        return self.clusters.groups(self.classes)

    @property
    def group_names(self) -> list[str]:
        """(G,) class · attribute, or the class without attributes."""
        return [group_name(y, a) for y, a in self.groups]

    @property
    def shown_groups(self) -> list[int]:
        """The groups of tables and charts: with factors those with images in any split, else all."""
        if not self.factors:
            return list(range(len(self.groups)))
        counts = zip(*self.counts.values(), strict=True)
        return [g for g, of_group in enumerate(counts) if any(of_group)]


@dataclass(frozen=True, kw_only=True)
class BackboneSummary:
    """The backbone by name. ``image_precision`` is that of the image tower, None for the user's own features."""

    model: str
    pretrained: str | None
    embed_dim: Count
    image_precision: str | None

    @property
    def image_tower(self) -> str:
        """The precision in words."""
        return self.image_precision or "not used, the features are given"


@dataclass(frozen=True, kw_only=True)
class QualityOfSplit(PseudoQuality):
    """The quality of the pseudo attributes over the training rows, or over all rows without any."""

    split: Literal["training", "all"]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The entries of both files that don't depend on training.

    ``group_kind`` says which attributes define the groups of all figures; ``average`` is the one in the tables;
    ``pseudo_shares`` are (A,). ``pseudo_doubts`` are reasons not to trust the guesses. ``doubt_warnings`` are warnings
    that say them, if figures or trainings depend on the guesses. If a probe guessed, ``cross_validated`` is about the
    attribute, or about each factor.
    """

    schema_version: int
    dbpt_version: str
    dataset: DataSummary
    backbone: BackboneSummary
    group_kind: GroupKind
    average: Average
    pseudo_method: str
    pseudo_shares: list[Share]
    pseudo_quality: QualityOfSplit | None
    pseudo_doubts: list[Doubt] = field(default_factory=list)
    doubt_warnings: list[str] = field(default_factory=list)
    cross_validated: list[CrossValidated] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A method of a run, with its metrics on each split where it was evaluated. What doesn't apply to it is None."""

    name: str
    group_source: str | None = None
    head: str | None = None
    apply: str | None = None
    best_epoch: Count | None = None
    epochs: Count = 0
    seconds: float = 0.0
    warnings: list[str]
    train: GroupMetrics | None = None
    val: GroupMetrics | None
    test: GroupMetrics | None

    @property
    def method(self) -> str:
        """The name, as in a comparison."""
        return self.name

    @property
    def title(self) -> str:
        """The objective's title, with head, group source and sampling in brackets if not the default."""
        title = OBJECTIVES[self.name].title if self.name in OBJECTIVES else self.name
        details = [self.head] if self.head not in (None, "prompt") else []
        details += ["true groups"] if self.group_source == "true" else []
        details += ["sampling"] if self.apply == "sampling" else []
        return f"{title} ({', '.join(map(str, details))})" if details else title

    @property
    def shown(self) -> GroupMetrics | None:
        """The metrics on the split that tables show: test, else validation, else training."""
        return self.test or self.val or self.train

    def figure(self, name: str) -> float | None:
        """Return the figure of that name in `GroupMetrics` on the split that tables show."""
        return getattr(self.shown, name, None)

    @property
    def groups(self) -> Sequence[Group]:
        """The groups on the split that tables show, in the order g = y*A + a; none if it was not evaluated."""
        return self.shown.groups if self.shown else ()

    @property
    def groups_differ(self) -> bool:
        """False, since a run has one seed."""
        return False


@dataclass(frozen=True, kw_only=True)
class RunMetrics(Metrics):
    """The content of ``metrics.json``. The row named ``chosen`` is the one whose classifier is saved."""

    model_selection: str
    seed: Count
    chosen: str
    rows: list[RunRow]
    warnings: list[str]
    failed_images: Count
    seconds: dict[str, float]


M = TypeVar("M", bound=Metrics)


def read_metrics(path: Path, kind: type[M]) -> M:
    """Read a ``metrics.json`` or ``compare.json``. Raises `InputError` if it is missing or was changed."""
    value = read_json(path, "file of figures")
    check_version(path, value.get("schema_version"), SCHEMA_VERSION)
    return typed(value, kind, path, "run it again")

"""The content of ``discover.json``."""

from dataclasses import dataclass

from dbpt.report.findings import AuditedData, TriedFamily
from dbpt.runs.metrics import BackboneSummary, PredictionsBy
from dbpt.storage.typed_json import Count

SCHEMA_VERSION = 4


@dataclass(frozen=True, kw_only=True)
class DiscoveryFigures:
    """The content of ``discover.json``.

    ``families`` are all families, the proposed ones first, the strongest first. ``catalogue`` is the file that the user
    named, or None. The commands repeat the search, and go on with the first proposed family: audit it in images that
    were not searched, if there are any, and in those that were, and train. Without one, they audit the first family
    that may be the class.
    """

    schema_version: int
    dbpt_version: str
    verdict: str
    data: AuditedData
    backbone: BackboneSummary
    predictions_by: PredictionsBy
    predictions_from: str
    errors: Count
    catalogue: str | None
    families: list[TriedFamily]
    warnings: list[str]
    command: str
    check_command: str | None
    audit_command: str | None
    fit_command: str | None
    settings: dict[str, str]

    @property
    def proposed(self) -> list[TriedFamily]:
        """The proposed families."""
        return [family for family in self.families if family.finding == "proposed"]

    @property
    def to_look_at(self) -> list[TriedFamily]:
        """The families that a foreign classifier's errors go with, but that CLIP may confuse with the classes."""
        return [family for family in self.families if family.finding == "may be the class"]

    @property
    def distinct(self) -> list[TriedFamily]:
        """The proposed families without those that split the images like a stronger one."""
        return [family for family in self.proposed if family.like is None]

    def split_alike(self, family: TriedFamily) -> list[TriedFamily]:
        """Return the proposed families that split the images like ``family``, which is stronger."""
        return [other for other in self.proposed if other.like == family.name]

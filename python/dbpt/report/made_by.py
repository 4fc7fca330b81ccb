"""The words, sentences and settings behind a page, as entries of the list that ``made_by.html.j2`` shows."""

from collections.abc import Iterable, Mapping, Sequence

from dbpt.report.text import MISSING, count
from dbpt.runs.audited import AuditedData
from dbpt.runs.metrics import BackboneSummary
from dbpt.settings.config import FitConfig

Entries = list[tuple[str, str]]


def audited_entries(data: AuditedData, backbone: BackboneSummary) -> Entries:
    """Return the images that a page is about, and the backbone."""
    more = f"; {count(data.failed_images)} more could not be read" if data.failed_images else ""
    split = f"split: {data.split}" if data.is_divided else "no splits"
    images = f"{count(data.n)}, {split}{more}"
    return [("Data", data.root), ("Images", images), ("Backbone", backbone_text(backbone))]


def backbone_text(backbone: BackboneSummary) -> str:
    """Return the backbone by name, with the size of its features and the precision of its image tower."""
    weights = backbone.pretrained or "no pretrained tag"
    return f"{backbone.model}, {weights}, {backbone.embed_dim} features; image tower: {backbone.image_tower}"


def setting_texts(config: FitConfig, names: Iterable[str]) -> dict[str, str]:
    """Return the values of the settings ``names`` as texts; an unset one is ``None``."""
    values = {name: getattr(config, name) for name in names}
    return {
        name: ", ".join(map(str, value)) if isinstance(value, tuple) else str(value) for name, value in values.items()
    }


def made_by_entries(
    words: Iterable[tuple[str, Sequence[str]]],
    templates: Sequence[str],
    attribute_templates: Sequence[str],
    settings: Mapping[str, str],
) -> Entries:
    """Return names and texts of the words with their sentences, and of the ``settings`` by `setting_texts`."""
    return [
        *((f"Words for {name}", ", ".join(wordings)) for name, wordings in words),
        ("Sentences, class", " | ".join(templates) or MISSING),
        ("Sentences, attribute", " | ".join(attribute_templates) or MISSING),
        *setting_entries(settings),
    ]


def setting_entries(settings: Mapping[str, str]) -> Entries:
    """Return names and texts of the ``settings`` by `setting_texts`; an unset one is a dash."""
    return [(name, MISSING if value == "None" else value) for name, value in settings.items()]

"""The words, sentences and settings behind a page, as entries of the list that ``made_by.html.j2`` shows."""

from collections.abc import Iterable, Mapping, Sequence

from dbpt.report.text import MISSING
from dbpt.settings.config import FitConfig

Entries = list[tuple[str, str]]


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

"""Render the templates of the HTML pages, each beside its code: self-contained files without external content.

jinja2 escapes every text, so class names and paths may contain anything.
"""

import re
from base64 import b64encode
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from dbpt.report.colors import color_variables
from dbpt.report.text import count, in_words, interval_text, percent, points, signed_interval, signed_points


def render(template: str, **context: object) -> str:
    """Return the page of a template, which is named by its path in the package."""
    return _environment().get_template(template).render(context)


@cache
def _environment() -> Environment:
    loader = PackageLoader("dbpt", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": percent, "in_words": in_words, "points": points, "count": count}
    environment.filters |= {"sentence": sentence, "capitalize_first": capitalize_first, "breakable": _breakable}
    environment.filters["data_url"] = _data_url
    environment.filters |= {"signed_points": signed_points, "signed_interval": signed_interval}
    environment.globals |= {"interval": interval_text, "color_variables": color_variables}
    return environment


def sentence(text: str) -> str:
    """Return a text with a capital letter at its start and a full stop at its end."""
    return capitalize_first(text if text.endswith((".", "?", "!")) else f"{text}.")


def capitalize_first(text: str) -> str:
    """Return a text with a capital letter at its start, and names in it as they are."""
    return text[:1].upper() + text[1:]


def _breakable(path: str) -> Markup:
    """Escape a path, and allow line breaks after its separators."""
    return Markup("<wbr>").join(piece for piece in re.split(r"(?<=[/\\_])", path) if piece)


def _data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"

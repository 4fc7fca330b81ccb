"""The looks of the shapes of a `Drawing`, for files that can't use the style sheet, which is where they are written."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

Looks = Mapping[str, str]
NAMES = ("fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "opacity", "text-anchor", "font-size")


@cache
def looks_of(tag: str, style: str) -> Looks:
    """Return the attributes that the style sheet gives an element of SVG with some classes."""
    classes, values = set(style.split()), dict[str, str]()
    for selector, declarations in _rules():
        own_tag, *own_classes = selector.split(".")
        if own_tag in ("", tag) and classes.issuperset(own_classes):
            values |= declarations
    color = values.get("--color", "")
    resolved = {name: value.replace("var(--color)", color) for name, value in values.items() if name in NAMES}
    return {name: re.sub(r"var\((--[\w-]+)\)", lambda m: variables()[m[1]], v) for name, v in resolved.items()}


@cache
def _rules() -> list[tuple[str, dict[str, str]]]:
    """Return selectors with their declarations, those that override others last."""
    found = [
        (selector.strip(), _declarations(body))
        for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", _light_css())
        for selector in selectors.split(",")
    ]
    simple = [(selector, body) for selector, body in found if re.fullmatch(r"(svg )?(text)?(\.[\w-]+)*", selector)]
    simple.sort(key=lambda rule: (rule[0].count("."), rule[0].startswith("svg ")))
    return [(selector.removeprefix("svg "), body) for selector, body in simple]


@cache
def variables() -> dict[str, str]:
    """Return the colours of light pages by name, such as ``--page``."""
    root = re.search(r":root \{([^{}]*)\}", _light_css())
    assert root
    return _declarations(root[1])


def _declarations(body: str) -> dict[str, str]:
    pairs = (part.partition(":") for part in body.split(";") if ":" in part)
    return {name.strip(): value.strip() for name, _, value in pairs}


@cache
def _light_css() -> str:
    """Return the style sheet without what is only for dark, narrow or printed pages."""
    css = (files("dbpt") / "report" / "style.css").read_text(encoding="utf-8")
    return re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", css)

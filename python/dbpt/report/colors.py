"""The colours of pages and charts, by name: on light pages, in files, and on dark pages."""

from markupsafe import Markup

COLORS = {
    "page": "#ffffff",
    "panel": "#f5f6f8",
    "ink": "#1b1f24",
    "muted": "#5a626c",
    "rule": "#dde1e6",
    "strong-rule": "#aab1ba",
    "notice": "#fff6e0",
    "notice-rule": "#d9a514",
    "zero-shot": "#8a929c",
    "erm": "#d55e00",
    "chosen": "#0072b2",
    "other-0": "#009e73",
    "other-1": "#b3568c",
    "other-2": "#b98500",
    "other-3": "#3f93c4",
    "hue-0": "#00875f",
    "hue-1": "#7b4fb3",
    "hue-2": "#b88600",
    "hue-3": "#2f8fcf",
    "hue-4": "#c0507f",
    "hue-5": "#6b6f1f",
}
"""A chart finds the name of a colour by its value, so all are different."""

DARK = {
    "page": "#14171b",
    "panel": "#1c2026",
    "ink": "#e4e7eb",
    "muted": "#98a1ac",
    "rule": "#2c323a",
    "strong-rule": "#59626e",
    "notice": "#2a2413",
    "notice-rule": "#b98d1c",
    "zero-shot": "#858e99",
    "erm": "#f0883e",
    "chosen": "#4aa3df",
    "other-0": "#2fbf93",
    "other-1": "#dd8fbc",
    "other-2": "#e3b341",
    "other-3": "#8fcdf2",
    "hue-0": "#2fbf93",
    "hue-1": "#b08ae6",
    "hue-2": "#e3b341",
    "hue-3": "#6fbcf0",
    "hue-4": "#ea86b0",
    "hue-5": "#b5ba55",
}


def color_variables() -> Markup:
    """Return the CSS that defines the colours as variables."""
    light, dark = ("; ".join(f"--{name}: {value}" for name, value in colors.items()) for colors in (COLORS, DARK))
    return Markup(f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}")

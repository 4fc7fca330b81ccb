"""Charts that are built but not drawn: drawing takes a third of a small `fit`. See `drawn_charts` in conftest.py.

All processes of the tests leave them blank, so that their files are alike.
"""

from dbpt.report import charts

BLANK = {"svg": b"<svg>\n</metadata>\n</svg>", "png": b"\x89PNG"}
DRAW = charts._rendered


def leave_blank() -> None:
    """Leave the charts of this process blank."""
    charts._rendered = lambda figure, *, format, **_: BLANK[format]

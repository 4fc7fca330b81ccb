"""The chart of a measured number: how the images that are predicted right and wrong are distributed."""

from collections.abc import Sequence

import numpy as np

from dbpt.evaluation.explained_by_attribute import Distribution
from dbpt.report.charts import Chart, clean, drawing, new_axes, plots
from dbpt.report.text import COLORS

WIDE, HEIGHT = 440.0, 110.0
RIGHT, WRONG = "chosen", "erm"
DENSITY_LEGEND = ((RIGHT, "predicted right"), (WRONG, "predicted wrong"))


def density_chart(shown: Distribution, name: str) -> Chart | None:
    """Draw the densities of right and of wrong images, each with an area of 1; None if there are none of one kind.

    The wrong ones are a line, so that the kinds differ without colours, too.
    """
    if not (sum(shown.right) and sum(shown.wrong)):
        return None
    right, wrong = (_median(shown.edges, counts) for counts in (shown.right, shown.wrong))
    description = f"{name}: the median is {right:.3g} for images predicted right and {wrong:.3g} for those wrong"
    widths = np.diff(shown.edges)
    with drawing():
        axes, on_page = new_axes(description, DENSITY_LEGEND, HEIGHT, (16, 8, 16, 40), WIDE)
        axes.stairs(shown.right / widths / sum(shown.right), shown.edges, fill=True, color=COLORS[RIGHT], alpha=0.35)
        axes.stairs(shown.wrong / widths / sum(shown.wrong), shown.edges, color=COLORS[WRONG], linewidth=2)
        axes.xaxis.set_major_locator(plots("ticker").MaxNLocator(5))
        axes.set(xlim=(shown.edges[0], shown.edges[-1]), ylim=(0, None), yticks=[])
        axes.set_xlabel(clean(name), color=COLORS["muted"], fontsize=11, loc="right")
    return Chart(axes.figure, clean(description), on_page)  # type: ignore[arg-type]


def _median(edges: Sequence[float], counts: Sequence[int]) -> float:
    """Return the median of values in bins."""
    below = np.cumsum([0, *counts])
    return float(np.interp(below[-1] / 2, below, edges))

"""Combine comparisons of several data sets into the tables of "All methods" in docs/explanation/results.md.

    python tools/results_table.py NAME=FOLDER[,FOLDER] ...

reads folders of `dbpt compare --resample`, several for a data set if each has other heads, and prints two Markdown
tables. The first has worst-group accuracy with its standard deviation over the draws, the average and the gap, for each
method, head and data set. The second has the difference in worst-group accuracy between dbpt and the others, with its
95 % interval. The average is adjusted: each group is weighted by its share of the training images.
"""

import sys
from pathlib import Path

from dbpt.evaluation.results import Row, read_metrics
from dbpt.evaluation.row_differences import interval_over_draws

Rows = dict[tuple[str, str], Row]
"""By title and head."""


def main() -> None:
    """Print the tables."""
    data: dict[str, Rows] = {}
    smallest: dict[str, int] = {}
    for argument in sys.argv[1:]:
        name, _, folders = argument.partition("=")
        for folder in folders.split(","):
            metrics = read_metrics(Path(folder) / "compare.json")
            smallest[name] = metrics.dataset.smallest_group
            data.setdefault(name, {}).update({(row.title, row.head or "–"): row for row in metrics.rows})
    named = dict.fromkeys(key for rows in data.values() for key in rows)
    print(f"| method | head | {' | '.join(data)} |\n|---|---|{'---|' * len(data)}")
    for title, head in named:
        print(f"| {title} | {head} | {' | '.join(cell(rows.get((title, head))) for rows in data.values())} |")
    print(f"\n| dbpt against | head | {' | '.join(data)} |\n|---|---|{'---|' * len(data)}")
    for title, head in named:
        if title != "dbpt":
            cells = [lead(rows, title, head, smallest[name]) for name, rows in data.items()]
            print(f"| {title} | {head} | {' | '.join(cells)} |")


def cell(row: Row | None) -> str:
    """Return worst-group accuracy with its deviation, adjusted average and gap."""
    if row is None:
        return "–"
    names = ("worst_group_accuracy", "adjusted_average", "adjusted_gap")
    wga, average, gap = ("–" if (mean := row.figure(name)) is None else f"{100 * mean:.1f}" for name in names)
    sd = 100 * (row.deviations["worst_group_accuracy"] or 0.0)
    spread = f" ± {sd:.1f}" if sd >= 0.05 else ""
    return f"**{wga}**{spread} · {average} · {gap}"


def lead(rows: Rows, title: str, head: str, smallest: int) -> str:
    """Return the lead of dbpt with the same head, or with the linear one over a row without training."""
    other, ours = rows.get((title, head)), rows.get(("dbpt", "linear" if head == "–" else head))
    if other is None or ours is None:
        return "–"
    name = "worst_group_accuracy"
    own, theirs = ours.figure(name), other.figure(name)
    if own is None or theirs is None:
        return "–"
    of_theirs = {repeat.draw: repeat.figures[name] for repeat in other.draw_repeats}
    pairs = [(repeat.figures[name], of_theirs.get(repeat.draw)) for repeat in ours.draw_repeats]
    difference, by_draw = own - theirs, [a - b for a, b in pairs if a is not None and b is not None]
    text, interval = f"{100 * difference:+.1f}", interval_over_draws(difference, by_draw, smallest)
    if interval is not None:
        text += f" [{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]"
    return text.replace("-", "−")


if __name__ == "__main__":
    main()

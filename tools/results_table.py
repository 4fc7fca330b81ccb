"""Combine comparisons of several data sets into the tables of docs/results.md.

    python tools/results_table.py NAME=FOLDER[,FOLDER] ...

reads folders of `dbpt compare`, several for a data set if each has other heads, and prints two Markdown tables. The
first has, for each method, head and data set, worst-group accuracy with its standard deviation over the draws or seeds,
the average, and the gap. The second has the paired difference in worst-group accuracy between dbpt and the others, with
its 95 % interval over the draws that both have.
"""

import sys
from pathlib import Path

from dbpt.experiments.comparison.summary import bootstrap_interval, mean_and_deviation
from dbpt.runs.comparison_metrics import ComparisonMetrics, ComparisonRow
from dbpt.runs.metrics import read_metrics

Rows = dict[tuple[str, str], ComparisonRow]
"""By title and head."""


def main() -> None:
    """Print both tables."""
    data: dict[str, Rows] = {}
    for argument in sys.argv[1:]:
        name, _, folders = argument.partition("=")
        for folder in folders.split(","):
            metrics = read_metrics(Path(folder) / "compare.json", ComparisonMetrics)
            data.setdefault(name, {}).update({(row.title, row.head or "–"): row for row in metrics.rows})
    named = dict.fromkeys(key for rows in data.values() for key in rows)
    print(f"| method | head | {' | '.join(data)} |\n|---|---|{'---|' * len(data)}")
    for key in named:
        cells = [cell(rows[key]) if key in rows else "–" for rows in data.values()]
        print(f"| {key[0]} | {key[1]} | {' | '.join(cells)} |")
    print(f"\n| dbpt against | head | {' | '.join(data)} |\n|---|---|{'---|' * len(data)}")
    for title, head in named:
        if title != "dbpt":
            cells = [lead(rows, title, head) for rows in data.values()]
            print(f"| {title} | {head} | {' | '.join(cells)} |")


def cell(row: ComparisonRow) -> str:
    """Return worst-group accuracy with its deviation, plain average and gap."""
    wga, average, gap = (100 * (row.figures[name].mean or 0.0) for name in ("worst_group_accuracy", "average", "gap"))
    sd = 100 * (row.figures["worst_group_accuracy"].sd or 0.0)
    return f"**{wga:.1f}**{f' ± {sd:.1f}' if sd >= 0.05 else ''} · {average:.1f} · {gap:.1f}"


def lead(rows: Rows, title: str, head: str) -> str:
    """Return the lead of dbpt with the same head, or with the linear one over a row without training."""
    other, ours = rows.get((title, head)), rows.get(("dbpt", "linear" if head == "–" else head))
    if other is None or ours is None:
        return "–"
    theirs, own = by_seed(other), by_seed(ours)
    differences = [100 * (own[seed] - theirs[seed]) for seed in own if seed in theirs]
    mean, interval = mean_and_deviation(differences)[0] or 0.0, bootstrap_interval(differences)
    text = f"{mean:+.1f}" if interval is None else f"{mean:+.1f} [{interval[0]:+.1f}, {interval[1]:+.1f}]"
    return text.replace("-", "−")


def by_seed(row: ComparisonRow) -> dict[int, float]:
    """Return worst-group accuracy by draw or seed."""
    values = zip(row.seeds, row.figures["worst_group_accuracy"].by_seed, strict=True)
    return {seed: value for seed, value in values if value is not None}


if __name__ == "__main__":
    main()

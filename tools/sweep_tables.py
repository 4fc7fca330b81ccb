"""Write the tables of docs/defaults.md from docs/sweep.csv, which `tools/sweep.py` makes.

python tools/sweep_tables.py
"""

import csv
import re
import statistics
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = {
    "demo-waterbirds": "waterbirds",
    "demo-celeba": "celeba",
    "demo-metashift": "metashift",
    "photographs": "photographs",
}
SHORT = {
    "ctx_init": "start",
    "batch_size": "batch",
    "eta": "η",
    "ema_momentum": "EMA momentum",
    "warmup_epochs": "warm-up",
    "dro_step_size": "step size",
    "identification_epochs": "first stage",
}
NO_SETTINGS = ("stage", "data", "seed", "score", "last")

Line = dict[str, str]


def main() -> None:
    with (ROOT / "docs" / "sweep.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    page = ROOT / "docs" / "defaults.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(with_tables(text, lines), encoding="utf-8")


def with_tables(text: str, lines: list[Line]) -> str:
    """``text`` with each table between its ``sweep: STAGE`` marks written anew."""

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}\n{stage_table([line for line in lines if line['stage'] == match[2]])}\n<!-- end -->"

    return re.sub(r"(<!-- sweep: (.*?) -->)\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def stage_table(lines: list[Line]) -> str:
    settings = [name for name in lines[0] if name not in NO_SETTINGS]
    recipes: dict[tuple[str, ...], dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        recipes[tuple(cell(line, name) for name in settings)][line["data"]].append(line)
    told = [i for i, name in enumerate(settings) if name != "n_ctx" and len({recipe[i] for recipe in recipes}) > 1]
    header = [SHORT.get(settings[i], settings[i].replace("_", " ")) for i in told]
    rows = [[recipe[i] for i in told] + scores(of_data) for recipe, of_data in recipes.items()]
    header += [*DATA.values(), "mean", "last epoch"]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def cell(line: Line, name: str) -> str:
    """A setting as the table shows it; the start of the context is words or a number of random tokens."""
    if name == "ctx_init" and line["head"] == "prompt":
        return line["ctx_init"] or f"{line['n_ctx']} random"
    if name == "batch_size" and line[name] == "0":
        return "all"
    return line[name]


def scores(of_data: dict[str, list[Line]]) -> list[str]:
    """Mean ± standard deviation over the seeds of each data set, their mean, and the mean of the last epochs."""
    each = {data: [float(line["score"]) for line in of_data[data]] for data in DATA}
    last = [statistics.mean(float(line["last"]) for line in of_data[data]) for data in DATA]
    spread = [f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}" for values in each.values()]
    return [*spread, f"{statistics.mean(map(statistics.mean, each.values())):.1f}", f"{statistics.mean(last):.1f}"]


if __name__ == "__main__":
    main()

"""Write the tables of docs/explanation/defaults.md from docs/explanation/sweep.csv, the result of `tools/sweep.py`.

python tools/sweep_tables.py
"""

import csv
import re
import statistics
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
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
    with (ROOT / "docs/explanation/sweep.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    page = ROOT / "docs/explanation/defaults.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(with_tables(text, lines), encoding="utf-8")


def with_tables(text: str, lines: list[Line]) -> str:
    """Return ``text`` with each table between its ``sweep: STAGE by SETTING`` marks written anew."""

    def table(match: re.Match[str]) -> str:
        of_stage = [line for line in lines if line["stage"] == match[2]]
        return f"{match[1]}\n{stage_table(of_stage, match[3])}\n<!-- end -->"

    return re.sub(r"(<!-- sweep: (.*?) by (\w+) -->)\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def stage_table(lines: list[Line], column: str) -> str:
    """Return a table of scores: a column for each value of one setting, a row for each choice of the others."""
    varied = [name for name in lines[0] if name not in NO_SETTINGS and len({cell(line, name) for line in lines}) > 1]
    settings = [name for name in varied if name not in ("n_ctx", column)]
    columns = sorted({line[column] for line in lines}, key=float)
    cells: dict[tuple[str, ...], dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        cells[tuple(cell(line, name) for name in settings)][line[column]].append(line)
    header = [*map(short, settings), *(f"{short(column)} {value}" for value in columns)]
    rows = [[*recipe, *(score(of_value[value]) for value in columns)] for recipe, of_value in cells.items()]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, ["---"] * len(header), *rows])


def short(setting: str) -> str:
    return SHORT.get(setting, setting.replace("_", " "))


def cell(line: Line, name: str) -> str:
    """Return a setting as the table shows it; the start of the context is words or a number of random tokens."""
    if name == "ctx_init" and line["head"] == "prompt":
        return line["ctx_init"] or f"{line['n_ctx']} random"
    if name == "batch_size" and line[name] == "0":
        return "all"
    return line[name]


def score(lines: list[Line]) -> str:
    """Return the mean over the data sets ± the mean standard deviation over the seeds."""
    if not lines:
        return ""
    of_data: dict[str, list[float]] = defaultdict(list)
    for line in lines:
        of_data[line["data"]].append(float(line["score"]))
    mean = statistics.mean(map(statistics.mean, of_data.values()))
    return f"{mean:.1f} ± {statistics.mean(map(statistics.stdev, of_data.values())):.1f}"


if __name__ == "__main__":
    main()

"""The table as papers print it: marks of the best and of those that can't be told from it, and LaTeX that compiles."""

import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from made_up_results import ROWS, comparison, difference

import dbpt
from dbpt.evaluation.results import FIGURES
from dbpt.report.paper_table import in_latex, paper_table

HOSTILE = r"""[50]*% γΩ≥×_{x} & $y$ #1 ~^ \input{/etc/passwd} "q" <a|b> }{ — é"""
ZERO_SHOT, ERM, DBPT, JTT = ROWS


FIVE = {"seeds": list(range(5))}


def table_of(metrics, told, *, with_images=True):
    """The table where ``told`` gives the interval of the difference of a row to the best, by its title."""

    def differs(row, other, confidence):
        assert confidence == pytest.approx(1 - 0.05 / 3)
        interval = told.get(row.title, (-1.0, 1.0))
        each = difference(0.0, interval if with_images else None, over_seeds=interval)
        return replace(each, figures=dict.fromkeys(FIGURES, each.figures["worst_group_accuracy"]))

    return paper_table(metrics, differs)


def test_the_best_is_bold_and_what_cannot_be_told_from_it_has_a_dagger():
    lines = table_of(comparison(**FIVE), {"zero-shot": (-0.4, -0.2), "ERM": (-0.3, -0.1)}).lines()
    assert [line["Method"] for line in lines] == ["zero-shot", "ERM", "dbpt", "JTT"]
    assert [line["Worst group"] for line in lines] == ["48.0 ± 2.0", "50.0 ± 2.0", "81.0 ± 2.0 †", "**83.0 ± 2.0**"]
    assert {line["Plain average"] for line in lines} == {"**75.0 ± 1.0**"}  # all are the best
    heads = table_of(comparison(heads=["prompt", "linear"], **FIVE), {})
    assert [line["Head"] for line in heads.lines()] == ["–", "prompt", "prompt", "prompt"]
    assert "contains 0 over seeds or, for the worst group, images" in heads.notes[-1]
    one = table_of(comparison(seeds=[0]), {})
    assert one.notes[-2].endswith("contains 0 over images.") and one.notes[-1] == "Average and gap are not tested."
    still = comparison(
        [replace(row, deviations={**dict.fromkeys(FIGURES, 0.0), "validation_score": 1e-8}) for row in ROWS], **FIVE
    )
    assert table_of(still, {}).notes[2:] == one.notes[2:]
    assert table_of(comparison(), {}).notes[2:] == one.notes[2:]  # two seeds are too few
    lost = table_of(comparison(**FIVE), {}, with_images=False)
    assert lost.notes[-1].startswith("Differences over images are not tested")
    few = replace(comparison(), rows=[replace(row, test=None) for row in comparison().rows])
    assert {line["Worst group"] for line in paper_table(few, None).lines()} == {"– ± 2.0"}


def parsed(latex):
    """The caption and the cells by row of a ``table``, whose braces must balance and whose environments must close."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", latex.replace(r"\\", "")):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    opened = re.findall(r"\\begin\{(\w+)\}", latex)
    assert re.findall(r"\\end\{(\w+)\}", latex) == opened[::-1] == ["tabular", "table"]
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", latex)[1]
    body = latex[latex.index(r"\toprule") : latex.index(r"\bottomrule")].replace("\\midrule\n", "")
    rows = [line.removesuffix(r" \\") for line in body.splitlines()[1:]]
    cells = [re.split(r"(?<!\\) & ", row) for row in rows]
    assert {len(row) for row in cells} == {len(columns)}
    return re.search(r"\\caption\{(.*)\}\n", latex)[1], cells


def hostile_latex():
    rows = [replace(ERM, title=HOSTILE, deviations={}), DBPT, JTT, ZERO_SHOT]
    metrics = comparison(rows, heads=["prompt", "linear"], **FIVE)
    metrics = replace(metrics, dataset=replace(metrics.dataset, name=HOSTILE + "\n\\end{table}"))
    return table_of(metrics, {"zero-shot": (0.1, 0.2)}).latex(f"Results of {HOSTILE}", "tab:x")


def test_latex_is_whole_whatever_the_names_are():
    caption, cells = parsed(hostile_latex())
    assert cells[0] == ["Method", "Head", "Worst group", "Plain average", "Gap"]
    assert [row[2] for row in cells[1:]] == [
        "50.0$^\\dagger$", r"81.0 $\pm$ 2.0$^\dagger$", r"\textbf{83.0 $\pm$ 2.0}", r"48.0 $\pm$ 2.0"
    ]  # fmt: skip
    assert cells[1][0] == in_latex(HOSTILE) and r"\input" not in caption + cells[1][0]
    assert "standard deviation over 5 seeds" in caption and r"a 95 \% interval" in caption
    assert caption.startswith(
        r"Results of {[}50{]}{*}\% $\gamma$$\Omega$$\geq$$\times$\_\{x\} \& \$y\$ \#1 \textasciitilde{}"
    )


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_latex_compiles(tmp_path):
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
    (tmp_path / "t.tex").write_text(head + hostile_latex() + "\\end{document}\n")
    made = subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stdout[-2000:]
    assert "Undefined" not in made.stdout


def test_a_comparison_writes_it_for_pandas_and_latex(comparison):
    frame = comparison.to_pandas(style="paper")
    best = max(range(len(comparison.rows)), key=lambda i: comparison.rows[i].worst_group_accuracy)
    assert frame["Worst group"][best].startswith("**")
    assert len(frame) == len(comparison.rows) and any(note.startswith("Best in bold") for note in frame.attrs["notes"])
    caption, cells = parsed(comparison.to_latex("Ours", label="tab:ours"))
    assert caption.startswith("Ours. Data set squares: test split") and len(cells) == 1 + len(comparison.rows)
    assert r"\label{tab:ours}" in comparison.to_latex(label="tab:ours")
    with pytest.raises(dbpt.InputError, match="^style: found 'latex'; expected 'full' or 'paper'"):
        comparison.to_pandas(style="latex")
    with pytest.raises(dbpt.InputError, match="^caption: found 'table.tex'; to_latex writes no file"):
        comparison.to_latex("table.tex")
    for wrong in ({"label": "tab:a_b%"}, {"label": "a}b"}, {"caption": 3}):
        with pytest.raises(
            dbpt.InputError, match="^(label: found 'tab:a_b%'|label: found 'a}b'|caption: found 3); exp"
        ):
            comparison.to_latex(**wrong)


def test_a_run_has_one_training_of_each_row_so_only_the_best_is_marked(tiny_run):
    lines = dbpt.Result.read(tiny_run).to_latex()
    assert r"\textbf" in lines and r"\dagger" not in lines

"""Charts: inline SVG for pages, SVG and PNG files, and hostile names in all of them."""

import io
import re
from importlib.resources import files
from itertools import pairwise
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from html_page import Page
from hypothesis import given
from hypothesis import strategies as st
from made_up_results import LONG, NASTY, compared, comparison, history, run
from matplotlib import pyplot
from PIL import Image

from dbpt import report
from dbpt.commands.result import Result
from dbpt.errors import InputError
from dbpt.report.bar_chart import Bar, BarGroup, bar_chart
from dbpt.report.charts import Line, line_chart, moved_apart, write_figures
from dbpt.report.result_charts import result_charts
from dbpt.report.text import COLORS, color_variables

pytestmark = pytest.mark.usefixtures("drawn_charts")
SVG = "{http://www.w3.org/2000/svg}"
STRAIGHT = [(epoch, 0.5) for epoch in range(1, 101)]


def bars(name="landbird · land", color="erm", **options):
    group = BarGroup((name, ""), "n = 40", [Bar(color, "ERM", 0.5, 0.4, 0.6, [0.45, 0.55])])
    return bar_chart([group], "Accuracy", **options)


def curves(*lines, scale="fraction", **options):
    return line_chart(lines, "Probability", scale=scale, **options)


def pixels(chart):
    return np.asarray(Image.open(io.BytesIO(chart.png_file())).convert("RGB"))


def share_of(image, color):
    return (image == [int(COLORS[color][i : i + 2], 16) for i in (1, 3, 5)]).all(axis=2).mean()


def texts(svg):
    return ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_an_svg_file_needs_no_style_sheet_and_keeps_its_text():
    chart = bars()
    root = ElementTree.fromstring(chart.svg_file())
    assert root.find(f"{SVG}title").text == "Accuracy"
    assert root.get("viewBox") == f"0 0 {root.get('width')} {root.get('height')}" == "0 0 934 122"
    assert not re.search(r"class=|var\(|<style", chart.svg_file())
    assert COLORS["erm"] in chart.svg_file()
    shown = ["0", "25", "50", "75", "100 %", "landbird · land", "n = 40", "50.0", "Accuracy"]
    assert texts(chart.svg_file()) == shown
    assert "landbird · land, ERM: 50.0 % [40.0, 60.0], n = 40" in [each.text for each in root.iter(f"{SVG}title")]


def test_a_page_shows_the_same_curves_in_its_own_colours_and_font_without_the_caption():
    chart = curves(Line("erm", "landbird", "landbird", STRAIGHT))
    html, file = str(chart.__html__()), str(chart.svg_file())
    assert not re.search(r"#[0-9a-f]{6}|font-family|<g id=", html)
    assert "stroke: var(--erm)" in html
    assert html.startswith('<svg viewBox="0 46 920 ') and '"0 0 934 ' in file
    drawn = [file.replace("xlink:href", "href"), re.sub(r"var\(--([\w-]+)\)", lambda name: COLORS[name[1]], html)]
    assert drawn[1][drawn[1].index("<defs>") : drawn[1].index("</defs>")] in drawn[0]
    assert [text for text in texts(file) if text not in html] == []
    assert "Probability" in texts(file) and "Probability" not in html.partition(">")[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dbpt.report.charts._rendered", lambda *_, **__: 1 / 0)  # drawn once
        assert (str(chart.__html__()), str(chart.svg_file())) == (html, file)


def test_a_page_shows_bars_as_a_list_with_the_same_figures():
    chart = bars(NASTY)
    html = str(chart.__html__())
    assert '<ol class="bars" aria-label="Accuracy">' in html and "<script" not in html
    values = re.findall(r"(left|width): ([\d.]+)%", html)
    assert values == [("width", "50.00"), ("left", "40.00"), ("width", "20.00"), ("left", "45.00"), ("left", "55.00")]
    words = Page(html).words
    assert f"{NASTY} n = 40" in words and words.endswith(" 50.0")
    titles = [attrs["title"] for tag, attrs in Page(html).elements if "title" in attrs]
    assert titles == [NASTY, f"{NASTY}, ERM: 50.0 % [40.0, 60.0], n = 40"]
    none = bar_chart([BarGroup(("a", ""), "n = 0", [Bar("erm", "ERM", None, None, None)])], "Accuracy")
    assert "no images" in str(none.__html__())


def test_each_colour_has_one_name_and_both_pages_have_all():
    assert len(set(COLORS.values())) == len(COLORS)
    style = (files(report) / "templates/style.css").read_text()
    for css in (style.split("prefers-color-scheme: dark")[1].split("}")[0], color_variables()):
        assert re.findall(r"--([\w-]+): #[0-9a-f]{6}", css) == list(COLORS)


def test_a_png_has_twice_the_pixels_and_the_colours_of_light_pages():
    image = pixels(bars())
    assert image.shape == (244, 1868, 3)
    left = 20 + 15 * 6.7
    assert share_of(image, "erm") == pytest.approx((920 - 52 - left) / 2 * 13 / (934 * 122), rel=0.15)
    assert 0.003 < (image < 100).all(axis=2).mean() < 0.1  # texts
    assert bars().png_file() == bars().png_file()
    assert share_of(pixels(bars(color="chosen")), "erm") == 0


def test_lines_are_dashed_interrupted_and_marked():
    whole, dashed = (
        share_of(pixels(curves(Line("chosen", "a", "a", STRAIGHT, dash=dash))), "chosen") for dash in (0, 1)
    )
    assert dashed == pytest.approx(7 / 11 * whole, rel=0.1)
    assert "stroke-dasharray: 7,4;" in curves(Line("chosen", "a", "a", STRAIGHT, dash=1)).svg_file()
    marked = pixels(curves(Line("chosen", "a", "a", STRAIGHT, marked=50)))
    assert share_of(marked, "chosen") > whole
    alone = [(1, 0.5), (2, None), (3, 0.5), (4, None)]
    assert share_of(pixels(curves(Line("chosen", "a", "a", alone))), "chosen") > 20 / marked[:, :, 0].size


def test_a_curve_is_where_its_values_are():
    axes = curves(Line("chosen", "a", "a", [(1, 0.25), (5, 0.75)]), best=5).axes
    assert axes.get_xlim() == (1, 5) and axes.get_ylim() == (0, 1)
    assert axes.lines[1].get_ydata().tolist() == [0.25, 0.75]
    one = curves(Line("chosen", "a", "a", [(1, 3e7), (2, 0.001)]), scale="relative").axes
    assert one.get_ylim()[0] <= 0.001 and one.get_ylim()[1] >= 3e7
    percent = curves(Line("chosen", "a", "a", STRAIGHT), scale="percent").axes
    assert [each.get_text() for each in percent.get_yticklabels()] == ["0", "25", "50", "75", "100"]
    assert percent.get_xticks().tolist() == [1, *range(10, 101, 10)]


def test_a_caption_and_a_legend_are_above_the_chart():
    names = [(f"other-{i}", f"{LONG} {i}") for i in range(3)]
    chart = bars(legend=[("erm", "ERM"), *names])
    shown = texts(chart.svg_file())
    assert {"Accuracy", "ERM"} <= set(shown)
    assert sum(text.startswith(LONG[:20]) for text in shown) == 3
    plain = pixels(bars()).shape
    assert pixels(chart).shape[:2] == (plain[0] + 2 * 20 * 2, plain[1])  # two long names a line
    assert all(share_of(pixels(chart), color) > 0 for color, _ in names)


def test_nothing_in_the_data_can_break_a_file():
    for name in (NASTY, LONG, "中文", "\udcff", "", "a\nb\rc", "\0\a\x1b\x7f\uffff", "$x_1$ 50\\% $"):
        for chart in (bars(name, legend=[("erm", name)]), curves(Line("erm", name, name, STRAIGHT))):
            root = ElementTree.fromstring(chart.svg_file().encode())
            assert not list(root.iter(f"{SVG}script"))
            chart.png_file()
            chart.__html__().encode()
    assert "$x_1$" in texts(bars("$x_1$").svg_file())


def test_the_users_own_style_changes_nothing():
    expected = bars().svg_file(), bars().png_file()
    with matplotlib.rc_context({"text.usetex": True, "font.size": 30, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert (bars().svg_file(), bars().png_file()) == expected
        assert matplotlib.rcParams["font.size"] == 30


def texts_of(axes):
    return {each.get_text() for each in axes.texts} | {each.get_text() for each in axes.figure.texts}


def test_results_plot_a_chart_that_pyplot_shows_and_the_user_restyles(tmp_path):
    of_run = Result(tmp_path, run()).plot()
    assert {"landbird · land", "n = 100", "zero-shot", "ERM", "dbpt"} <= texts_of(of_run)
    assert pyplot.gcf() is of_run.figure and pyplot.gca() is of_run
    of_comparison = Result(tmp_path, comparison()).plot()
    assert pyplot.gcf() is of_comparison.figure is not of_run.figure
    assert {"zero-shot", "ERM", "dbpt", "JTT", "81.0"} <= texts_of(of_comparison)
    of_comparison.set_title("Mine")
    of_comparison.figure.savefig(tmp_path / "mine.svg")
    assert "Mine" in (tmp_path / "mine.svg").read_text()
    with pytest.raises(InputError, match="nothing to plot"):
        Result(tmp_path, comparison([compared("dbpt", (), ())])).plot()
    pyplot.close("all")


def test_figures_are_written_and_removed(tmp_path):
    (tmp_path / "figures").mkdir()
    write_figures(tmp_path, {"accuracy": bars(), "weights": bars()})
    assert (tmp_path / "figures/accuracy.png").read_bytes() == bars().png_file()
    assert (tmp_path / "figures/weights.svg").read_text() == bars().svg_file()
    write_figures(tmp_path, {"accuracy": bars(), "weights": None, "validation": None})
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["accuracy.png", "accuracy.svg"]


def test_every_chart_of_a_run_and_a_comparison_is_a_figure():
    metrics = run()
    found = result_charts(metrics, history(metrics))
    assert list(found) == ["accuracy", "weights", "probability", "validation"]
    compared = result_charts(comparison())
    assert list(compared) == ["worst_group_accuracy", "accuracy"]
    for chart in [*found.values(), *compared.values()]:
        ElementTree.fromstring(chart.svg_file())
        assert texts(chart.svg_file())
    assert {"zero-shot", "ERM", "dbpt"} <= set(texts(found["accuracy"].svg_file()))
    untrained = result_charts(metrics, [])
    assert [name for name, chart in untrained.items() if chart is None] == ["weights", "probability", "validation"]


@given(st.lists(st.floats(0, 200), min_size=1, max_size=12))
def test_spread_labels_keep_order_and_distance(places):
    moved = moved_apart(places, 14.0, 200.0)
    order = sorted(range(len(places)), key=lambda i: places[i])
    assert all(moved[b] - moved[a] >= 14.0 - 1e-6 for a, b in pairwise(order))
    assert max(moved) <= 200.0 + 1e-6
    apart = [20.0, 60.0, 100.0]
    assert moved_apart(apart, 14.0, 200.0) == apart

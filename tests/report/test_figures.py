"""Charts as files: an SVG with its own colours, the same as PNG, and hostile names in both."""

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from made_up_comparison import comparison
from made_up_run import LONG, NASTY, history, run, typed_metrics
from PIL import Image

from dbpt.report import figures
from dbpt.report.charts import Bar, BarGroup, Line, bar_chart, captioned, line_chart
from dbpt.report.comparison_page import comparison_figures
from dbpt.report.drawing import Drawing, Lines, Text
from dbpt.report.figures import png_file, svg_file, write_figures
from dbpt.report.looks import looks_of
from dbpt.report.run_charts import run_figures

SVG = "{http://www.w3.org/2000/svg}"
TICKS = [(0.0, "0"), (1.0, "1")]
ORANGE, BLUE, WHITE = (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2), (255, 255, 255)


def bars(name="landbird · land", style="row-erm"):
    group = BarGroup(name, name, "n = 40", [Bar(style, "ERM", 0.5, 0.4, 0.6, [0.45, 0.55])])
    return bar_chart([group], "Accuracy", width=400)


def pixels(drawing):
    return np.asarray(Image.open(io.BytesIO(png_file(drawing))))


def share_of(image, color):
    return (image == color).all(axis=2).mean()


def test_an_svg_file_needs_no_style_sheet():
    root = ElementTree.fromstring(svg_file(bars()))
    assert (root.get("viewBox"), root.get("width"), root.get("height")) == ("0 0 400 76", "400", "76")
    assert root.find(f"{SVG}title").text == "Accuracy"
    background, bar = root.iter(f"{SVG}rect")
    assert (background.get("fill"), bar.get("fill")) == ("#ffffff", "#d55e00")
    (whisker,) = [each for each in root.iter(f"{SVG}path") if each.get("opacity") == ".75"]
    assert (whisker.get("stroke"), whisker.get("stroke-width"), whisker.get("fill")) == ("#1b1f24", "1.2", "none")
    notes = [each for each in root.iter(f"{SVG}text") if each.get("font-size") == "11px"]
    assert [each.text for each in notes] == ["0", "25", "50", "75", "100 %", "n = 40"]
    assert {each.get("text-anchor") for each in notes} == {"middle", "end"}
    assert not re.search(r"class=|var\(|<style", svg_file(bars()))


def test_a_page_shows_the_same_shapes_with_classes():
    html, file = bars().__html__(), svg_file(bars())
    places = re.compile(r' (?:[xyr]|cx|cy|width|height|d)="[^"]*"')
    root, body = html.split(">", 1), file.split("/>", 1)
    assert places.findall(root[1]) == places.findall(body[1])
    assert '<rect class="bar row-erm"' in html and "#" not in html


@pytest.mark.parametrize(
    ("tag", "style", "name", "value"),
    [
        ("rect", "bar row-chosen", "fill", "#0072b2"),
        ("path", "curve hue-1 dash-1", "stroke", "#7b4fb3"),
        ("path", "curve hue-1 dash-1", "stroke-dasharray", "7 4"),
        ("circle", "ring hue-1 dash-1", "stroke-dasharray", "none"),
        ("text", "note end", "fill", "#5a626c"),
        ("text", "label end", "fill", "#1b1f24"),
    ],
)
def test_looks_are_those_of_the_style_sheet_on_light_pages(tag, style, name, value):
    assert looks_of(tag, style)[name] == value


def test_a_png_has_twice_the_pixels_and_the_colours_of_the_page():
    image = pixels(bars())
    assert image.shape == (152, 800, 3)
    left = 20 + 15 * 6.7
    middle = 22 + 9 + 15  # of the bar of 13 px
    assert tuple(image[round(2 * (middle - 5)), round(2 * (left + 20))]) == ORANGE
    assert tuple(image[2, 2]) == WHITE
    half = (400 - 52 - left) / 2 * 13 / (400 * 76)
    assert share_of(image, ORANGE) == pytest.approx(half, rel=0.1)
    assert 0.01 < (image < 100).all(axis=2).mean() < 0.1  # texts
    assert png_file(bars()) == png_file(bars())
    assert tuple(pixels(bars(style="row-chosen"))[round(2 * (middle - 5)), round(2 * (left + 20))]) == BLUE


def test_lines_of_a_png_are_dashed_and_circles_filled():
    straight = [(epoch, 0.5) for epoch in range(1, 101)]
    whole, dashed = (
        share_of(pixels(line_chart([Line(style, "a", "a", straight)], "d", ticks=TICKS)), BLUE)
        for style in ("row-chosen", "row-chosen dash-1")
    )
    assert dashed == pytest.approx(7 / 11 * whole, rel=0.05)
    ring = pixels(line_chart([Line("row-chosen", "a", "a", straight, marked=1)], "d", ticks=TICKS))
    y, x = 2 * (26 + 85), 2 * 44
    assert tuple(ring[y, x]) == WHITE and tuple(ring[y + 10, x]) == BLUE


def test_a_caption_and_a_legend_are_above_the_chart():
    plain = bars()
    names = [(f"row-other-{i % 4}", f"{LONG} {i}") for i in range(3)]
    drawing = captioned(plain, [("row-erm", "ERM"), *names])
    root = ElementTree.fromstring(svg_file(drawing))
    texts = ["".join(each.itertext()) for each in root.iter(f"{SVG}text")]
    assert texts[0].startswith("Accuracy") and any("ERM" in text for text in texts[:3])
    assert drawing.top == -46 - 20 * 3  # each line has room for one long name
    lowest = max(shape.y for shape in drawing.shapes[: -len(plain.shapes)])
    assert drawing.top < lowest < 0
    assert pixels(drawing).shape[:2] == (2 * drawing.height, 2 * drawing.width)
    assert captioned(plain).top == -46


def test_nothing_in_the_data_can_break_a_file():
    for name in (NASTY, LONG, "中文", "\udcff", "", "a\nb\rc", "\0\a\x1b\x7f\uffff"):
        drawing = captioned(bars(name), [("row-erm", name)])
        root = ElementTree.fromstring(svg_file(drawing).encode())
        assert not list(root.iter(f"{SVG}script"))
        png_file(drawing)


def test_without_installed_fonts_pillows_own_draws_what_it_has(monkeypatch):
    def drawn(text):
        return pixels(Drawing([Text("label", 5, 15, text)], "d", 100, 20))

    figures._font.cache_clear()
    monkeypatch.setattr(figures, "FONTS", ())
    try:
        assert (drawn("Käfer −1") == drawn("Kafer -1")).all()
        assert (drawn("Kafer") != drawn("")).any()
    finally:
        figures._font.cache_clear()


def test_figures_are_written_and_removed(tmp_path):
    (tmp_path / "figures").mkdir()
    write_figures(tmp_path, {"accuracy": bars(), "weights": bars()})
    assert (tmp_path / "figures/accuracy.png").read_bytes() == png_file(bars())
    assert (tmp_path / "figures/weights.svg").read_text() == svg_file(bars())
    write_figures(tmp_path, {"accuracy": bars(), "weights": None, "validation": None})
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == ["accuracy.png", "accuracy.svg"]


def test_every_chart_of_a_run_and_a_comparison_is_a_figure_whose_shapes_are_seen():
    metrics = run()
    found = run_figures(typed_metrics(metrics), history(metrics))
    assert list(found) == ["accuracy", "weights", "probability", "validation"]
    compared = comparison_figures(comparison())
    assert list(compared) == ["worst_group_accuracy", "accuracy"]
    for drawing in [*found.values(), *compared.values()]:
        root = ElementTree.fromstring(svg_file(drawing))
        shapes = [each for tag in ("rect", "path", "circle", "text") for each in root.iter(f"{SVG}{tag}")]
        assert all({each.get("fill"), each.get("stroke")} - {None, "none"} for each in shapes)
        assert pixels(drawing).shape[:2] == (2 * drawing.height, 2 * drawing.width)
    legend = re.findall(r"<title>([^<]*)</title>", svg_file(found["accuracy"]))
    assert {"zero-shot", "ERM", "dbpt"} <= set(legend)
    untrained = run_figures(typed_metrics(metrics), [])
    assert [name for name, drawing in untrained.items() if drawing is None] == ["weights", "probability", "validation"]


def test_a_line_of_one_point_and_an_empty_one_are_drawn():
    drawing = Drawing([Lines("grid", [[(1, 1)], [], [(1, 1), (9, 9)]])], "d", 10, 10)
    ElementTree.fromstring(svg_file(drawing))
    assert (pixels(drawing) != 255).any()

"""The page of a search with families of every source: the evidence, the plots, the tables; hostile names and many."""

import re
from dataclasses import replace

import numpy as np
import pytest
from browser import assert_readable
from html_page import Page

import dbpt
from dbpt.cautions import caution
from dbpt.commands.discover.page import render_discovery
from dbpt.evaluation.discovery_fields import Confirmation
from dbpt.evaluation.explained_by_attribute import Distribution
from dbpt.report.charts import density_chart
from dbpt.report.discovery_sentences import confirmation_in_words, evidence_of, label_of
from dbpt.report.page_size import MOST_FAMILIES_TABLED

HOSTILE = "=cmd|'/c calc'!<b>A1</b>"
SOURCES = ("words", "column", "measured", "caption", "pair")


@pytest.fixture(scope="module")
def found(tiny, short_catalogue, tmp_path_factory) -> dbpt.Discovery:
    """A search in which errors go with a column of hostile name and values, and with captions."""
    random, rows = np.random.default_rng(0), tiny.rows()
    camera, other = random.integers(0, 2, (2, len(rows)))
    wrong = random.uniform(size=len(rows)) < np.where(camera, 0.8, 0.05)
    labels = sorted({row["label"] for row in rows})
    values = [[f"{HOSTILE} {number}" for number in numbers] for numbers in (camera, other)]
    table = tiny.write(
        "discovery-page",
        [
            row | {HOSTILE: one, "lens": two, "id": f"image {i}", "caption": "dusk" if bit else "dawn"}
            for i, (row, one, two, bit) in enumerate(zip(rows, *values, camera, strict=True))
        ],
    )
    predictions = [next(y for y in labels if (y == row["label"]) ^ bad) for row, bad in zip(rows, wrong, strict=True)]
    out = tmp_path_factory.mktemp("page") / "out"
    return dbpt.discover(table, predictions=predictions, split="all", out=out, **tiny.backbone)


def evidence(found, **changed) -> dict[str, str]:
    """The evidence for the first family, after changes."""
    family = replace(found.figures.families[0], **changed)
    return dict(evidence_of(family, [family, *found.figures.families[1:]], found.figures.data.n))


def test_families_of_every_source_are_tried_and_said(found):
    figures = found.figures
    assert set(SOURCES) - {"pair"} <= {family.source for family in figures.families}
    assert [(column.name, column.reason) for column in figures.left_out][-1:] == [("id", "identifiers")]
    best = figures.shown[0]
    assert best.source in ("column", "caption") and best.explained.share > 0.6
    html = (found.folder / "discover.html").read_text()
    page = Page(html)
    assert "id (identifiers)" in page.words and f"Searched: {len(figures.families)} families" in page.words
    for family in figures.families:
        assert f"<strong>{sum(other.source == family.source for other in figures.families)}</strong> " in html
    words = [family for family in figures.families if family.source == "words"]
    assert html.split("Table of the words")[1].count('<th scope="row"') == len(words)


def test_no_tag_or_formula_of_the_data_survives(found):
    page = Page((found.folder / "discover.html").read_text())
    page.assert_self_contained()
    page.assert_accessible()
    assert "b" not in page.tags and HOSTILE in page.words
    written = (found.folder / "families.csv").read_text()
    assert re.search("^\"?'=cmd", written, re.M) and not re.search('(^|,)"?=', written, re.M)


@pytest.mark.parametrize(
    ("source", "name", "keyword"),
    [
        ("words", "ground", "CLIP guessed"),
        ("column", "camera", "column camera"),
        ("measured", "brightness", "0 to 1, mean of luma"),
        ("measured", "format", "JPEG"),
        ("caption", "dusk", "“dusk”"),
        ("pair", "one, two", "one and two"),
    ],
)
def test_the_values_of_each_source_are_explained(found, source, name, keyword):
    family = replace(found.figures.families[0], source=source, name=name, parts=["one", "two"])
    said = evidence(found, source=source, name=name, parts=["one", "two"])["Values"]
    assert keyword in said and ("CLIP" in said) == (source == "words")
    assert label_of(family) == (name if source == "words" else f"{name} ({source})")
    assert len(label_of(replace(family, name="x" * 99), 24)) <= 24


@pytest.mark.parametrize(("p_value", "verb"), [(0.01, "Holds"), (0.4, "Not confirmed"), (None, "Not tested")])
def test_the_confirmation_stands_in_words(found, p_value, verb):
    tested = replace(found.figures.families[0].explained, p_value=p_value, p_is_bound=False, n=600, errors=120)
    confirmation = Confirmation(split="val", explained=tested, p_value=p_value, is_alike=True)
    said = confirmation_in_words(confirmation)
    assert said.startswith(verb) and "val" in said and ("600 images" in said) == (p_value is not None)
    family = replace(found.figures.families[0], finding="proposed", confirmation=confirmation)
    html = render_discovery(replace(found.figures, families=[family, replace(family, name="other")]), None)
    assert said in html and f"{'holds' if p_value == 0.01 else 'not confirmed'} in val" in html


def test_a_dim_family_says_what_that_means_and_its_figures(found):
    doubts = [caution("separation", pairs=[["a", "b"]], value=0.049, limit=0.1)]
    dim = replace(found.figures.families[0], finding="seen dimly", source="words", doubts=doubts)
    html = render_discovery(replace(found.figures, families=[dim]), None)
    assert "separation 0.05;" in evidence(found, finding="seen dimly", doubts=doubts)["Seen dimly"]
    assert "<dt>Seen dimly</dt>" in html and 'class="badge untrusted"' in html


def test_a_measured_number_has_a_plot_of_right_and_wrong_images(found, drawn_charts):
    measured = [family for family in found.figures.families if family.distribution is not None]
    assert measured and {family.source for family in measured} == {"measured"}
    for family in measured:
        shown = family.distribution
        assert sum(shown.right) + sum(shown.wrong) >= 0.95 * family.explained.n and shown.edges == sorted(shown.edges)
    values, right = np.repeat([0.2, 0.8], 50), np.repeat([False, True], 50)
    distribution = Distribution.of(values, right)
    svg = density_chart(distribution, "brightness").__html__()
    label = re.search('aria-label="([^"]*)"', svg)[1]
    assert re.search("0.7.* right and 0.2", label) and "var(--erm)" in svg and not re.search("#[0-9a-f]{6}", svg)
    assert density_chart(replace(distribution, wrong=[0] * len(distribution.wrong)), "brightness") is None
    for without in (np.ones(9), np.full(9, np.nan)):
        assert Distribution.of(without, np.ones(9, bool)) is None
    first = replace(found.figures.families[0], name="brightness", source="measured", distribution=distribution)
    html = render_discovery(replace(found.figures, families=[first]), None)
    assert html.count("<svg ") == 1 and "predicted wrong" in html


def test_a_thousand_families_make_a_small_page_sorted_by_q_and_share(found):
    first = replace(found.figures.families[0], finding="may be chance", source="column", names=["x" * 64] * 20)
    explained = first.explained
    families = [
        replace(first, name=f"f{i}", q_value=0.5 - i % 2 / 10, explained=replace(explained, share=i / 1000))
        for i in range(999)
    ]
    unseen = replace(first, name="unseen", finding="doubted", source="words", q_value=0.0001)
    html = render_discovery(replace(found.figures, families=[unseen, *families]), None)
    rows = re.findall(r'<th scope="row" class="name">(\w+)<span', html.split("Table of the words")[0])
    cut = replace(
        first, name="coat", finding="describes the classes", doubts=[caution("words of the classes", words=["gull"])]
    )
    assert "gull" in render_discovery(replace(found.figures, families=[cut, unseen]), None)
    order = sorted(families, key=lambda family: (family.q_value, -family.explained.share))
    assert rows == [family.name for family in order[:MOST_FAMILIES_TABLED]]
    assert "families.csv has all" in html and len(html) < 300_000 and "x" * 150 not in html


def test_it_is_readable_with_long_names(found, tmp_path, drawn_charts):
    first = found.figures.families[0]
    distribution = Distribution.of(np.repeat([0.2, 0.8], 50), np.repeat([False, True], 50))
    long = replace(first, name="W" * 200, source="measured", finding="proposed", distribution=distribution)
    shown = replace(found.figures, families=[first, long, replace(long, name="V" * 200, source="caption")])
    assert_readable([render_discovery(shown, None)], tmp_path)

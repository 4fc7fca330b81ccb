"""The page to label on: its content, and, where there is a browser, labelling with it."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import title_of
from html_page import Page
from PIL import Image
from refusals import line_of

from dbpt import InputError
from dbpt.commands.label.judge import read_answers
from dbpt.commands.label.sample import Design, Stratum, label_page

COLUMNS = ("sample", "path", "attribute")
NASTY = ('<b>"land"</b> & sea', "</script><script>alert(1)</script>", 'comma, "quote"')
PATHS = ('a "quoted", name.png', "</script>.png", "ünï.png", "b.png", "c.png", "d.png")


def design_of(paths: tuple[str, ...] = PATHS, attributes: tuple[str, ...] = NASTY) -> Design:
    half, classes, stratum = len(paths) // 2, ("cat", "dog"), tuple(i % 2 for i in range(len(paths)))
    strata = (Stratum(0, 0, True, 0.5, 1.0, 10, half), Stratum(1, 1, False, 0.5, 1.0, 9, half))
    words = {name: (name,) if i else ("wet & wild", "x") for i, name in enumerate(attributes)}
    return Design("runs/x", "photos <1>", "test", 0, classes, words, strata, paths, stratum)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number, path in enumerate(PATHS):
        (folder / path).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (40 * number, 90, 90)).save(folder / path)
    return folder


def test_names_are_escaped_and_arrive_as_they_are(images):
    page = Page(label_page(design_of(), images))
    assert len(page.scripts) == 2
    assert "b" not in page.tags[: page.tags.index("details")]
    sample = json.loads(page.scripts[0])
    assert sample == {"id": design_of().sample, "questions": [["attribute", list(NASTY)]], "paths": list(PATHS)}


def test_nothing_is_fetched_from_anywhere(images):
    page = Page(label_page(design_of(), images))
    assert len(page.sources) == len(PATHS)
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    policy = next(
        attrs["content"] for _, attrs in page.elements if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy.startswith("default-src 'none'")
    assert "url(" not in page.rawdata
    assert not re.search(r"https?:|//cdn|@import", re.sub(r'"data:[^"]*"', "", label_page(design_of(), images)))


def test_nothing_on_the_page_leads_the_person(images):
    """Two samples of the same images that differ in all that the run thinks of them give the same page."""
    design = design_of()
    turned = tuple(replace(s, label=1 - s.label, pseudo_attribute=2, right=not s.right, size=77) for s in design.strata)
    other = replace(design, strata=turned, stratum=tuple(1 - i for i in design.stratum), classes=("kitten", "puppy"))
    assert other.sample != design.sample
    pages = [label_page(each, images).replace(each.sample, "") for each in (design, other)]
    assert pages[0] == pages[1]


def test_two_hundred_pictures_of_noise_stay_under_five_megabytes(images, tmp_path):
    draws, paths = np.random.default_rng(0), tuple(f"{i}.jpg" for i in range(5))
    for path in paths:
        photo = draws.normal(128, 40, (30, 30, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(photo).resize((900, 900), Image.Resampling.BICUBIC).save(tmp_path / path)
    ends = len(label_page(design_of(PATHS), images)) / 1e6  # of six tiny pictures: nearly all style and script
    assert (len(label_page(design_of(paths), tmp_path)) / 1e6 - ends) * 40 + ends < 5


def test_images_that_cannot_be_shown_are_named(images, tmp_path):
    for path in PATHS[3:]:
        shutil.copy(images / path, tmp_path / path)
    (tmp_path / "text.png").write_text("text")
    paths = ("gone.png", "text.png", "\udcff.png", *PATHS[3:])
    line = line_of(label_page, design_of(paths), tmp_path)
    for reason in ("'gone.png': No such file", "'text.png': not a JPEG", r"'\udcff.png': its name is not UTF-8"):
        assert reason in line
    with pytest.raises(InputError, match="and 2 more"):
        label_page(design_of(tuple(f"{i}.png" for i in range(5))), tmp_path)


def test_the_name_of_a_sample_is_letters_and_of_its_images():
    """Digits, with an e among them or not, would come back from a spreadsheet as another number."""
    design = design_of()
    assert re.fullmatch("[a-p]{16}", design.sample)
    assert replace(design, run="./runs/x").sample == design.sample
    assert replace(design, paths=PATHS[::-1]).sample != design.sample
    assert replace(design, seed=1).sample != design.sample


# --- in a browser -----------------------------------------------------------------------------------------------------


@pytest.fixture
def in_browser(tmp_path) -> Callable[[str, str], dict]:
    """Return ``found`` as a script leaves it after the page's own script; the profile in ``tmp_path`` is kept."""
    tool = """
    const found = {};
    const press = (key, code = "Key" + key.toUpperCase(), more = {}) => document.dispatchEvent(
      new KeyboardEvent("keydown", { key, code: /^\\\\d$/.test(key) ? "Digit" + key : code, bubbles: true, ...more }));
    const text = (id) => byId(id).textContent;
    """.replace("\\\\", "\\")
    end = "document.title = JSON.stringify(found);"
    return lambda page, script: title_of(
        page.replace("</body>", f"<script>{tool}{script};{end}</script></body>"), tmp_path
    )


def test_labelling_with_keys_and_mouse_and_going_on_later(images, in_browser, tmp_path):
    design = design_of()
    page = label_page(design, images)
    found = in_browser(
        page,
        """
        found.start = [at, text("count"), byId("save").disabled];
        press("1"); press("3"); press("0");
        found.three = [at, answers.flat(), text("last")];
        press("Backspace", "Backspace");
        found.undone = [at, answers.flat()];
        press("ArrowLeft", "ArrowLeft"); press("ArrowLeft", "ArrowLeft");
        found.left = [at, choices[0].getAttribute("aria-pressed")];
        press("&", "Digit2");  // a French keyboard
        found.replaced = [at, answers.flat()];
        press("4"); press("z"); press("1", "", { ctrlKey: true }); press("1", "", { repeat: true });
        found.ignored = answers.flat();
        choices[3].click(); tiles[5].click(); choices[0].click();
        found.mouse = [at, answers.flat(), text("count"), tiles[5].getAttribute("aria-label")];
        """,
    )
    assert found["start"] == [0, "0 of 6 labelled", True]
    assert found["three"] == [3, [0, 2, -1, None, None, None], "Image 3: can’t tell."]
    assert found["undone"] == [2, [0, 2, None, None, None, None]]
    assert found["left"] == [0, "true"]
    assert found["replaced"] == [2, [1, 2, None, None, None, None]]
    assert found["ignored"] == [1, 2, None, None, None, None]
    assert found["mouse"] == [3, [1, 2, -1, None, None, 0], "4 of 6 labelled", f"Image 6: {NASTY[0]}"]
    found = in_browser(
        page,
        """
        found.resumed = [at, answers.flat(), byId("done").hidden];
        press("2"); press("3");
        found.done = [byId("done").hidden, byId("save").classList.contains("ready")];
        found.csv = labelsCsv();
        """,
    )
    assert found["resumed"] == [3, [1, 2, -1, None, None, 0], True]
    assert found["done"] == [False, True]
    (tmp_path / "labels.csv").write_text(found["csv"], encoding="utf-8")
    assert read_answers(tmp_path / "labels.csv", design)[:, 0].tolist() == [1, 2, -1, 1, 2, 0]
    rows = list(csv.DictReader(io.StringIO(found["csv"])))
    assert [row["path"] for row in rows] == list(PATHS)
    assert {row["sample"] for row in rows} == {design.sample}


def test_two_tabs_and_a_damaged_store_lose_nothing(images, in_browser):
    """The page takes over the answers of another tab, so that its next answer does not overwrite them."""
    found = in_browser(
        label_page(design_of(), images),
        """
        const tell = (newValue) => window.dispatchEvent(new StorageEvent("storage", { key: storageName, newValue }));
        press("1");
        tell(JSON.stringify({
          answers: [[0], [2], [-1], [null], [null], [null]], past: [[0, 0, null], [1, 0, null], [2, 0, null]] }));
        found.told = [at, answers.flat(), text("count")];
        press("2");
        found.stored = JSON.parse(localStorage.getItem(storageName)).answers.flat();
        for (const damaged of ["{", "null", '{"answers": [[9]]}', '{"answers": [[0], [0], [0], [0], [0], [99]]}',
          '{"answers": [0, 0, 0, 0, 0, 0]}', '{"answers": [[0], [0], [0], [0], [0], [0, 0]]}']) tell(damaged);
        found.kept = answers.flat();
        localStorage.setItem(storageName, "{");
        restore();
        found.canStore = canStore;
        press("ф", "KeyB");
        found.ignored = answers.flat();
        """,
    )
    assert found["told"] == [1, [0, 2, -1, None, None, None], "3 of 6 labelled"]
    assert found["stored"] == found["kept"] == found["ignored"] == [0, 1, -1, None, None, None]
    assert found["canStore"] is True


def test_more_attributes_than_digits_have_letters_whatever_the_alphabet(images, in_browser):
    names = tuple(f"attribute {number}" for number in range(40))
    found = in_browser(
        label_page(design_of(attributes=names), images),
        """
        press("9"); press("a"); press("B", "KeyB"); press("ф", "KeyC"); press("z");
        found.answers = answers.flat();
        found.keys = [9, 34, 35].map((number) => choices[number].querySelector("kbd").hidden);
        choices[39].click();
        found.last = answers[5][0];
        found.csv = labelsCsv();
        """,
    )
    assert found["answers"] == [8, 9, 10, 11, 34, None]
    assert found["keys"] == [False, False, True]
    assert found["last"] == 39
    assert found["csv"].splitlines()[-1].endswith(",attribute 39")


def test_going_on_from_a_saved_file(images, in_browser):
    """As the page saved it, and as spreadsheets do; a file that does not fit changes nothing."""
    design = design_of()
    cells = [[design.sample, PATHS[0], NASTY[2]], [design.sample, PATHS[2], ""], [design.sample, PATHS[1], NASTY[0]]]

    def written(separator: str, end: str, rows: list[list[str]], header: tuple[str, ...] = COLUMNS) -> str:
        text = io.StringIO()
        csv.writer(text, delimiter=separator, lineterminator=end).writerows([header, *rows])
        return text.getvalue()

    good = [
        written(",", "\n", cells),
        "\ufeff" + written(";", "\r\n", [*cells, ["", "", ""]]),
        written("\t", "\r", cells),
        written(",", "\n", [[*row[::-1], "me"] for row in cells], (*COLUMNS[::-1], "who")).rstrip("\n"),
    ]
    bad = [
        "sample,path\n",
        written(",", "\n", [cells[0], ["another", *cells[1][1:]]]),
        written(",", "\n", [[design.sample, "e.png", ""]]),
        written(",", "\n", [[design.sample, PATHS[0], "lage"]]),
    ]
    found = in_browser(
        label_page(design, images),
        f"""
        press("1"); press("ArrowRight", "ArrowRight"); press("ArrowRight", "ArrowRight"); press("3");
        found.before = answers.flat();
        found.bad = {json.dumps(bad)}.map((saved) => {{
          takeOver(saved);
          return [answers.join(), text("last").includes("nothing was taken over")];
        }});
        found.good = {json.dumps(good)}.map((saved) => {{
          answers = found.before.map((value) => [value]);
          takeOver(saved);
          return [at, ...answers.flat()];
        }});
        found.said = text("last");
        found.again = rowsOf(labelsCsv());
        press("Backspace", "Backspace");
        found.undone = answers.flat();
        """.replace("</script>", "<\\/script>"),
    )
    assert found["before"] == [0, None, None, 2, None, None]
    assert found["bad"] == [["0,,,2,,", True]] * 4
    assert found["good"] == [[4, 2, 0, -1, 2, None, None]] * 4
    assert found["said"] == "3 answers taken over."
    assert found["again"][:2] == [list(COLUMNS), cells[0]]
    assert found["undone"] == [2, None, -1, 2, None, None]

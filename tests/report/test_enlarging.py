"""A click on a picture makes it large without a script, and "back", or a click, makes it small again, in a browser."""

import re
from urllib.parse import unquote

import numpy as np
import pytest
from browser import title_of
from html_page import Page
from made_up_audit import examples_of, figures_of, sheets_of
from made_up_guesses import guesses_of
from made_up_results import NASTY, page_of, run

from dbpt.commands.audit.page import render_audit
from dbpt.report.group_pictures import GuessSheets, group_examples
from dbpt.report.results_page import render_guesses
from dbpt.report.thumbnails import ImageFiles

CLICK = """<!doctype html><html lang="en"><meta charset="utf-8"><title>[]</title>
<iframe src="shown.html" style="width:390px;height:800px;border:0"></iframe><script>
onload = async () => {
  const frame = document.querySelector("iframe"), page = frame.contentDocument, view = frame.contentWindow;
  page.querySelectorAll("details").forEach((details) => { details.open = true; });
  const all = page.querySelectorAll(".picture"), judged = page.querySelectorAll(".picture:has(.outcome)");
  const last = [...(judged.length ? judged : all)].at(-2);
  const look = async () => {
    await new Promise((done) => setTimeout(done, 200));
    const box = last.getBoundingClientRect(), image = last.querySelector("img").getBoundingClientRect();
    const links = [...last.querySelectorAll("a")].filter((link) => link.checkVisibility());
    const bars = [...last.querySelectorAll(".outcome")].map((bar) => bar.getBoundingClientRect().left);
    return {
      box: [box.left, box.top, box.width, box.height], image: image.width, scrolled: view.scrollY,
      bars: new Set(bars).size,
      links: links.map((link) => link.textContent.trim()),
      middle: page.elementFromPoint(195, 300)?.className, beside: page.elementFromPoint(5, 790)?.className,
      name: last.querySelector(".large").checkVisibility() && last.querySelector(".large").textContent,
    };
  };
  const open = last.querySelector(".open"), seen = [];
  open.scrollIntoView({ block: "center" });
  for (const close of [() => view.history.back(), () => page.elementFromPoint(5, 790).click()]) {
    seen.push(await look());
    open.click();
    seen.push(await look());
    close();
  }
  seen.push(await look());
  document.title = JSON.stringify(seen);
};
</script></html>"""


def pages(folder):
    figures = figures_of()
    sheets, examples = sheets_of(figures.data.groups, folder, page=folder), examples_of(figures, folder, page=folder)
    yield "audit", render_audit(figures, sheets, examples)
    yield "run", page_of(run(), sheets=sheets, examples=examples_of(figures, folder, num_classifiers=2, page=folder))
    yield (
        "guesses",
        render_guesses(GuessSheets(guesses_of(shares=[1.0]), {"day": ["day"]}, sheets), "pets", "dbpt label"),
    )


@pytest.mark.parametrize("which", ["audit", "run", "guesses"])
def test_a_picture_fills_the_window_until_it_is_closed(noise, tmp_path, which):
    html = dict(pages(noise))[which]
    (tmp_path / "shown.html").write_text(html, encoding="utf-8")
    options = "--allow-file-access-from-files", "--virtual-time-budget=10000"
    small, large, again, large_again, closed = title_of(CLICK, tmp_path, *options)
    assert small["links"] == [""] and small["image"] < 100 and small["scrolled"] > 800
    assert large["box"][:2] == [0, 0] and large["box"][2] > 360 and large["box"][3] == 800
    assert large["image"] > 340 and large["bars"] <= 1  # "before" and "after" begin at the same place
    assert large["middle"] == "" and large["beside"] == "close"  # a click beside the picture closes
    assert large["name"] and not small["name"]
    assert large["links"] == ["next ›", "‹ previous", "close ×", "", "original, where this page was made"]
    assert again == small == closed and large_again == large


def test_a_page_has_each_picture_once_and_each_name_of_a_place_once(noise):
    for _, html in pages(noise):
        pictures = html.count("<img ")
        assert html.count("data:image/jpeg;base64,") == pictures == html.count('class="picture"') > 60
        names = re.findall('<div class="picture" id="(.*?)"', html)
        assert len(set(names)) == len(names) == pictures


def test_no_name_of_a_file_can_break_the_page_or_lead_elsewhere(noise, tmp_path):
    paths = [NASTY.replace("/", "|"), '"><script>.png', "javascript:alert(1)", "a b#c?d%.png"]
    for path in paths:
        (tmp_path / path).write_bytes((noise / "0.png").read_bytes())
    groups = np.array([1, 1, 1, 1])
    names = {"group_names": figures_of().data.groups, "classes": ["cat", "dog"]}
    examples = group_examples(ImageFiles(paths, tmp_path, tmp_path / "audit"), groups, [groups], **names)
    page = Page(render_audit(figures_of(), None, examples))
    page.assert_self_contained()
    links = [attrs["href"] for tag, attrs in page.elements if tag == "a" and not attrs["href"].startswith("#")]
    assert [unquote(link) for link in links] == [f"../{path}" for path in paths]
    assert all(path in page.words for path in paths[1:])

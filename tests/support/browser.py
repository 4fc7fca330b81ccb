"""Pages in headless Chromium. Tests that show one are skipped if there is none."""

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from html import escape, unescape
from pathlib import Path

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_BROWSER = "no chromium, chromium-browser or google-chrome here: apt-get install chromium (else see CONTRIBUTING.md)"

WIDTHS = (390, 1280)
LOOK = r"""
const parsed = (text) => {
  const n = text.match(/[\d.]+/g).map(Number);
  return [...n.slice(0, 3).map((c) => text.startsWith("color(") ? c : c / 255), n.length > 3 ? n[3] : 1];
};
const over = (above, below) => [0, 1, 2].map((i) => above[i] * above[3] + below[i] * (1 - above[3])).concat(1);
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const background = (element, style) => {
  if (!element) return [1, 1, 1, 1];
  const own = parsed(style(element).backgroundColor);
  return own[3] === 1 ? own : over(own, background(element.parentElement, style));
};
function look(frame) {
  const page = frame.contentDocument, style = (element) => frame.contentWindow.getComputedStyle(element);
  const found = { wide: [], faint: [], body: style(page.body).backgroundColor };
  page.querySelectorAll("details").forEach((details) => { details.open = true; });
  for (const element of page.body.querySelectorAll("*")) {
    const box = element.getBoundingClientRect();
    if (!box.width || element.closest("svg")) continue;
    const name = `${element.tagName} ${element.textContent.trim().slice(0, 40)}`;
    if (box.right > frame.clientWidth + 0.5 && !element.closest(".scroll")) found.wide.push(name);
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const lights = [over(parsed(style(element).color), [1, 1, 1, 1]), background(element, style)].map(luminance);
    if ((Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05) < 4.5) found.faint.push(name);
  }
  const halved = [...page.querySelectorAll("pre span")].filter((option) => option.getClientRects().length > 1);
  const cut = [...page.querySelectorAll(".scroll:has(tr:first-child > td:nth-child(3):last-child)")]
    .filter((table) => table.querySelector(".matrix") && table.scrollWidth > table.clientWidth);
  found.wide.push(...[...halved, ...cut].map((element) => element.textContent.trim()));
  return { ...found, scrolls: page.documentElement.scrollWidth };
}
onload = () => {
  document.title = JSON.stringify([...document.querySelectorAll("iframe")].map(look));
  document.body.replaceChildren();  // else all pages are printed
};
"""


def title_of(page: str, folder: Path, *options: str) -> dict | list:
    """The JSON in the title of a page once its scripts have run. The profile in ``folder`` outlives the call."""
    if BROWSER is None:
        pytest.skip(NO_BROWSER)
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", *options)
    command = [BROWSER, *options, "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True, encoding="utf-8")
    return json.loads(unescape(re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)[1]))


def looks(pages: Sequence[str], folder: Path, *, dark: bool) -> list[list[dict]]:
    """How wide each page without scripts is at each of `WIDTHS`, what sticks out of it, and which text is faint."""
    frames = "".join(
        f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{escape(page)}"></iframe>'
        for page in pages
        for width in WIDTHS
    )
    around = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>[]</title>{frames}<script>{LOOK}</script></html>'
    )
    found = title_of(around, folder, f"--blink-settings=preferredColorScheme={0 if dark else 1}")
    return [found[start : start + len(WIDTHS)] for start in range(0, len(found), len(WIDTHS))]


def assert_readable(pages: Sequence[str], folder: Path) -> None:
    """Nothing sticks out of any page, and no text is faint, at both widths and in both colour schemes."""
    for dark, background in ((False, "rgb(255, 255, 255)"), (True, "rgb(20, 23, 27)")):
        for of_page in looks(pages, folder, dark=dark):
            for width, found in zip(WIDTHS, of_page, strict=True):
                assert found["scrolls"] <= width
                assert found["wide"] == found["faint"] == []
                assert found["body"] == background

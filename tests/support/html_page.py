"""A page of HTML as the tests look at it."""

import re
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise


class Page(HTMLParser):
    """The elements of a page in their order, the text of its scripts, and the words around them."""

    def __init__(self, html):
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        is_script = self.cdata_elem == "script"
        (self.scripts if is_script else self.text).append(data)

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    @property
    def sources(self) -> list[str]:
        """Return what the page would fetch; marks of a chart refer to its own shapes."""
        names = ("src", "href", "srcset", "action")
        found = [attrs[name] for _, attrs in self.elements for name in names if name in attrs]
        return [source for source in found if not source.startswith("#")]

    def assert_self_contained(self) -> None:
        """Refuse scripts and whatever else would reach outside the page, but links to files beside it."""
        assert not {"script", "link", "iframe", "object", "embed", "base"} & set(self.tags)
        for _, attrs in self.elements:
            assert not [name for name in attrs if name.startswith("on") or name in ("srcset", "action", "background")]
            # a shape of the same chart, a part of the page, or a file beside it
            assert all(re.fullmatch(r"#[\w-]+|[\w.%/~-]+", attrs[name]) for name in attrs if "href" in name)
            assert not [value for value in attrs.values() if re.search(r"url\((?!#)", value or "")]
            assert attrs.get("src", "data:").startswith("data:")

    def assert_accessible(self) -> None:
        """Refuse pictures without texts, headers of no cells, skipped headings, and parts that no key scrolls."""
        assert [tag for tag in self.tags if tag in ("header", "main", "h1")] == ["header", "h1", "main"]
        assert all(attrs.get("scope") in ("row", "col") for tag, attrs in self.elements if tag == "th")
        assert all(attrs.get("alt") for tag, attrs in self.elements if tag == "img")
        scrolled = [attrs for _, attrs in self.elements if "scroll" in (attrs.get("class") or "").split()]
        assert scrolled
        assert all(attrs["tabindex"] == "0" and attrs["role"] == "region" for attrs in scrolled)
        assert len({attrs["aria-label"] for attrs in scrolled}) == len(scrolled)
        levels = [int(tag[1]) for tag in self.tags if re.fullmatch("h[1-6]", tag)]
        assert all(deeper <= level + 1 for level, deeper in pairwise(levels))

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())


def boxes(html: str) -> list[str]:
    """The commands in each box of a page."""
    return [unescape(re.sub("</?span>", "", box)) for box in re.findall(r"<pre>(.*?)</pre>", html, re.DOTALL)]


def unwrapped(text: str) -> str:
    """The words, which may be wrapped anywhere or joined by spaces that can't break."""
    return " ".join(text.split())


def bars(html: str, color: str = "[a-z0-9-]+") -> list[float]:
    """The lengths of the bars of a colour in the charts of a page, in per cent."""
    bar = rf'<div class="bar" [^>]*var\(--{color}\)"><div><i style="width: ([\d.]+)%'
    return [float(length) for length in re.findall(bar, html)]


def bar_charts(html: str) -> list[str]:
    return re.findall('<ol class="bars".*?</ol>', html, re.DOTALL)


def curves(html: str) -> dict[str, list[list[tuple[float, float]]]]:
    """The pieces of each curve in the charts of a page, by its name on hover."""
    found = re.findall(r'<title>([^<%]*)</title>\s*<path d="([^"]*)"', html)
    pieces = {name: [re.findall(r"([\d.]+) ([\d.]+)", piece) for piece in path.split("M")[1:]] for name, path in found}
    return {name: [[(float(x), float(y)) for x, y in piece] for piece in each] for name, each in pieces.items()}

"""A page of HTML as the tests look at it."""

from html.parser import HTMLParser


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
        """Return what the page would fetch."""
        names = ("src", "href", "srcset", "action")
        return [attrs[name] for _, attrs in self.elements for name in names if name in attrs]

    @property
    def words(self) -> str:
        return " ".join("".join(self.text).split())

"""The documentation site: MyST Markdown that GitHub also shows, and pages generated from the code.

Build it with `make -C docs html`. It needs the installed package and no network.
"""

import os
import re
from pathlib import Path

import click
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx

import dbpt

ROOT = Path(__file__).resolve().parents[1]
# Files outside docs/ that are a page of the site: links lead to the file on GitHub, and to the page here.
PAGES = {
    "README.md": "docs/index.md",
    "ARCHITECTURE.md": "docs/explanation/architecture.md",
    "CHANGELOG.md": "docs/changes.md",
    "CONTRIBUTING.md": "docs/contributing.md",
    "benches/README.md": "docs/explanation/speed.md",
    "SECURITY.md": "docs/security.md",
}

project = "dbpt"
copyright = "the dbpt authors"
version = release = dbpt.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]

myst_enable_extensions = ["dollarmath", "html_image"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 4
nb_execution_mode = "off"

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_custom_sections = [
    ("Settings", "params_style"),
    *((f"Arguments of {which} samplers", "params_style") for which in ("all", "both")),
]
smartquotes = False  # they make a dash of --
default_role = "py:obj"

html_math_renderer = "mathml"
html_theme = "furo"
html_title = f"dbpt {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}

# docutils sets the index of a letter with an accent, such as \bar p_g, below the letter.
ACCENT_WITH_INDEX = re.compile(r"<munderover>\s*(<mi>.</mi>)\s*(<mi>.</mi>)\s*(<mo stretchy.*?</mo>)\s*</munderover>")


def _of_the_site(text: str, file: Path, page: Path) -> str:
    """Let Markdown links of a file that leave docs/ lead to a page of the site if there is one, and else to the file.

    Args:
        text: the file's text.
        file: the file, below `ROOT`.
        page: the page of the site that shows the text.

    Returns:
        The text with links relative to the page.
    """

    def replaced(match: re.Match[str]) -> str:
        target = os.path.relpath(file.parent / match[1], ROOT)
        if not (ROOT / target).is_file():
            return match[0]
        is_page = target in PAGES or target.startswith("docs/") or not target.endswith(".md")
        link = os.path.relpath(ROOT / PAGES.get(target, target), page.parent)
        return f"]({'' if is_page else 'path:'}{link}{match[2]})"

    return re.sub(r"\]\(([\w./-]+)(#[\w-]*|)\)", replaced, text)


def _read_page(app: Sphinx, name: str, content: list[str]) -> None:
    page = app.srcdir / f"{name}.md"
    content[0] = _of_the_site(content[0], page, page)


def _read_included(app: Sphinx, path: Path, name: str, content: list[str]) -> None:
    page = app.srcdir / f"{app.env.docname}.md"  # MyST's name lacks the folders
    content[0] = _of_the_site(content[0], (app.srcdir / path).resolve(), page)


def _escape_stars(app: Sphinx, context: click.Context, lines: list[str]) -> None:
    lines[:] = [line.replace("*", r"\*") for line in lines]


def _fold_settings(*event: object) -> tuple[str, str] | None:
    """Show the settings, which the docstring lists below, as ``**settings`` in a signature."""
    *_, signature, returns = event
    folded = re.sub(r"(\*, )?recipe='default'.*\)$", "**settings)", signature or "")
    return None if folded in ("", signature) else (folded, returns)


def _dash(app: Sphinx, doctree: nodes.document) -> None:
    """Put a dash between a parameter and its description, where Sphinx relies on smartquotes."""
    for text in [each for each in doctree.findall(nodes.Text) if each.startswith((" -- ", ") -- "))]:
        text.parent.replace(text, nodes.Text(text.replace(" -- ", " – ", 1)))


def _write_mathml(writer: nodes.NodeVisitor, node: nodes.math | nodes.math_block) -> None:
    """Write a formula as MathML, which browsers show without a script."""
    formula = tex2mathml(node.astext(), as_block=isinstance(node, nodes.math_block))
    writer.body.append(ACCENT_WITH_INDEX.sub(r"<msub><mover>\1\3</mover>\2</msub>", formula))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register what is mended in pages and in the help of commands, and how formulas are written."""
    app.add_html_math_renderer("mathml", (_write_mathml, None), (_write_mathml, None))
    app.connect("sphinx-click-process-description", _escape_stars)
    app.connect("source-read", _read_page)
    app.connect("include-read", _read_included)
    app.connect("doctree-read", _dash)
    app.connect("autodoc-process-signature", _fold_settings)

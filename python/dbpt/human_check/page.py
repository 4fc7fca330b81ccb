"""The page to label on: one HTML file with its pictures, styles and script inside, for a browser without network.

Class, pseudo attribute and prediction are left out: they would lead the person.
"""

from base64 import b64encode
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from dbpt._core import __version__
from dbpt.errors import InputError
from dbpt.features.images import UnreadableImage
from dbpt.human_check.design import Design
from dbpt.report.summary import SPLIT_NAMES
from dbpt.report.thumbnails import thumbnail

PIXELS = 320
MAX_BYTES = 18_000  # so that 200 pictures, in base64, stay under 5 MB


def label_page(design: Design, root: Path) -> str:
    """Return the HTML for the images of ``design``, whose paths are relative to ``root``.

    Raises `InputError` for images that cannot be read, or whose names are not UTF-8, so that no CSV could name them.
    """
    loader = PackageLoader("dbpt.human_check", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2").render(
        version=__version__,
        dataset=design.dataset,
        split=SPLIT_NAMES[design.split],
        attributes=[(name, [] if wordings == (name,) else wordings) for name, wordings in design.attributes.items()],
        pictures=_pictures(design, root),
        sample={"id": design.sample, "attributes": list(design.attributes), "paths": design.paths},
    )


def _pictures(design: Design, root: Path) -> list[str]:
    pictures: list[str] = []
    unreadable: list[str] = []
    for path in design.paths:
        try:
            path.encode()
            picture = thumbnail(root / path, PIXELS, max_bytes=MAX_BYTES)
        except UnicodeEncodeError:
            unreadable.append(f"{path!r}: its name is not UTF-8")
        except UnreadableImage as error:
            unreadable.append(f"{path!r}: {error}")
        else:
            pictures.append("data:image/jpeg;base64," + b64encode(picture).decode("ascii"))
    if unreadable:
        raise InputError(f"images of the sample cannot be shown: {first_three(unreadable)}")
    return pictures


def first_three(failures: list[str]) -> str:
    """Return the first three failures, and how many more there are."""
    return "; ".join(failures[:3]) + (f" and {len(failures) - 3} more" if len(failures) > 3 else "")

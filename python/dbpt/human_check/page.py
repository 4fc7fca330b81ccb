"""The page to label on: one HTML file with its pictures, styles and script inside, for a browser without network.

Of an image it holds the picture and the path, which the exported CSV names and the page does not show: neither class
nor pseudo attribute nor prediction, which would lead the person.
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
    """The HTML for the images of ``design``, whose paths are relative to ``root``.

    Raises:
        InputError: images that cannot be read, or whose names are not UTF-8, so that no CSV could name them.
    """
    environment = Environment(
        loader=PackageLoader("dbpt.human_check", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pictures = _pictures(design, root)
    return environment.get_template("page.html.j2").render(
        version=__version__,
        dataset=design.dataset,
        split=SPLIT_NAMES[design.split],
        attributes=[
            (name, [] if wordings == (name,) else wordings)
            for name, wordings in zip(design.attribute_names, design.wordings, strict=True)
        ],
        pictures=pictures,
        sample={"id": design.sample, "attributes": design.attribute_names, "paths": design.paths},
    )


def _pictures(design: Design, root: Path) -> list[str]:
    pictures, unreadable = [], []
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
        more = f" and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
        raise InputError(f"images of the sample cannot be shown: {'; '.join(unreadable[:3])}{more}")
    return pictures

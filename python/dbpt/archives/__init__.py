"""Files inside other files, by the path that they would have if those were folders. Nothing is unpacked.

Tar archives hold any files, Arrow files the images of a column. Either is looked through once; a file in it is then a
range of bytes.
"""

import os
from collections.abc import Callable
from pathlib import Path

from dbpt.archives.arrow import find_image
from dbpt.archives.member import Member
from dbpt.archives.tar import members

__all__ = ["Member", "find_member"]

FINDERS: dict[str, Callable[[Path, str], Member | None]] = {
    ".tar": lambda archive, name: members(archive).get(name),
    ".arrow": find_image,
}


def find_member(path: Path) -> Member | None:
    """The file that ``path`` means, such as ``shards/0001.tar/cat.jpg``; None if it leads to none in an archive.

    Raises:
        InputError: the archive is damaged, or needs a library that isn't installed.
    """
    for archive in path.parents:
        find = FINDERS.get(archive.suffix.lower())
        if find and os.path.isfile(archive):  # noqa: PTH113 (a name that is too long)
            return find(archive, path.relative_to(archive).as_posix())
    return None

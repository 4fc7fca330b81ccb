"""Files inside other files, by the path that they would have if those were folders. Nothing is unpacked.

Tar archives hold any files, Arrow files the images of a column. Either is looked through once; then each file in it is
read by its place.
"""

import os
import re
import stat
from pathlib import Path

from dbpt.data.archives.arrow import find_image
from dbpt.data.archives.member import Member
from dbpt.data.archives.tar import find_file

__all__ = ["Member", "find_member"]

FINDERS = {".tar": find_file, ".arrow": find_image}
INSIDE = re.compile(r"(\.tar|\.arrow)/", re.IGNORECASE)


def find_member(path: Path) -> Member | None:
    """The file that ``path`` means, such as ``shards/0001.tar/cat.jpg``; None if it leads to none in an archive.

    Raises:
        InputError: the archive is damaged, or needs a library that isn't installed.
    """
    text = path.as_posix()  # as text, because this is asked for each of a million images
    for match in INSIDE.finditer(text):
        archive = text[: match.end() - 1]
        try:
            found = os.stat(archive)  # noqa: PTH116 (as above)
        except (OSError, ValueError):
            return None
        if stat.S_ISREG(found.st_mode):
            return FINDERS[match[1].lower()](archive, text[match.end() :], found)
    return None

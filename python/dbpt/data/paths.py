"""Paths from users and tables: make them absolute or relative to a root, look them up, list folders, open archives.

A file inside an archive has the path that it would have if archives were folders. Nothing is unpacked. Tar archives
hold any files. Arrow files, as Hugging Face's datasets writes them, hold the images of a column:
``data-00000-of-00001.arrow/image/17`` is row 17 of the column ``image``. An archive is indexed once; then each file
is read by its offset.
"""

import errno
import io
import os
import posixpath
import re
import stat
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

from dbpt.errors import InputError, optional_module
from dbpt.storage.files import open_regular, reason_of, system_errors

HOLDS_ALL = "choose a root that holds all images (--root)"
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""The formats that can be decoded."""
NOT_PUBLISHED = "not-the-published-data.txt"
"""The file in a folder that only has a benchmark's layout; its counts aren't compared with the published ones."""


def absolute(path: str | Path) -> Path:
    """Return the absolute path without following links, so that messages show what the user wrote."""
    with system_errors(f"{path}: the working directory cannot be found", "enter another"):
        return Path(os.path.abspath(path))  # noqa: PTH100 (Path.absolute keeps '..')


def relative_path(text: str, root: Path, where: str) -> str:
    """Return the path of an image relative to ``root``, normalised. Raises `InputError` if it leaves the root."""
    path = text
    if posixpath.isabs(path):
        below = _below(Path(posixpath.normpath(path)), root)
        if below is None:
            raise InputError(f"{where}: path {text!r} is outside the root {root}; {HOLDS_ALL}")
        path = below.as_posix()
    path = posixpath.normpath(path) if path else "."
    if path == ".":
        raise InputError(f"{where}: path {text!r} names no file; expected an image, relative to {root}")
    if path == ".." or path.startswith("../"):
        raise InputError(f"{where}: path {text!r} leaves the root {root}; {HOLDS_ALL}")
    return path


def is_below(path: str, root: Path) -> bool:
    """Return whether a path is relative, or absolute and below ``root``."""
    return not posixpath.isabs(path) or _below(Path(posixpath.normpath(path)), root) is not None


def common_root(paths: Sequence[str]) -> Path | None:
    """Return the folder that holds all the paths, if each is absolute; else None."""
    try:
        folders = {os.path.dirname(path) for path in paths}  # noqa: PTH120 (as they are written)
        return Path(os.path.commonpath(folders)) if all(map(os.path.isabs, folders)) else None
    except ValueError:  # no path, or on several drives of Windows
        return None


def _below(absolute: Path, root: Path) -> Path | None:
    """Return ``absolute`` relative to ``root``, also through links; None if it is outside."""
    if absolute.is_relative_to(root):
        return absolute.relative_to(root)
    try:
        resolved = root.resolve()
        if not absolute.is_relative_to(resolved):
            absolute = absolute.parent.resolve() / absolute.name
    except (OSError, RuntimeError):  # a loop of links, a name that is too long
        return None
    return absolute.relative_to(resolved) if absolute.is_relative_to(resolved) else None


OWN_FOLDERS = {
    ("run.json", "config.toml"): "a run; dbpt evaluate, predict and label take it, and dbpt audit as --predictions",
    (
        "plan.json",
        "config.toml",
    ): "a comparison; dbpt.Result.read shows its figures, dbpt compare --resume continues it as --out",
    ("audit.json", "status.json"): "an audit; dbpt audit takes it as --baseline",
    ("discover.json", "status.json"): "a discovery; its discover.html has the commands to go on with",
    ("design.json", "sample.csv"): "a sample to label; dbpt label FOLDER --labels CSV judges it",
}
"""The folders that dbpt writes, by files in them, and what takes them."""


def use_of_folder(folder: Path) -> str | None:
    """Return what a folder is that a command of dbpt has written, and what takes it; None for any other."""
    return next((use for files, use in OWN_FOLDERS.items() if all(is_there(folder / file) for file in files)), None)


def refuse_own_folder(folder: Path) -> None:
    """Refuse as data a folder that a command of dbpt has written."""
    if use := use_of_folder(folder):
        raise InputError(f"data {str(folder)!r}: is the folder of {use}; give the images or their table as data")


def list_entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return the entries of a folder that are not hidden, sorted by name. Raises `InputError`."""
    with system_errors(f"{folder}: cannot be listed"), os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def regular_files(folder: Path) -> set[str]:
    """Return the names of the regular files in a folder; none if there is no such folder. Raises `InputError`."""
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file(follow_symlinks=False)}
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            return set()
        raise InputError(f"{folder}: cannot be listed: {reason_of(error)}") from None


def leads_to_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder or a link to one; False for a circular link."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def find_root(root: Path, folders: Sequence[str], markers: Sequence[str], title: str) -> Path:
    """Return the first of ``root`` and ``root/folder`` that contains one of ``markers``. Errors name ``title``."""
    if not is_folder(root):
        problem = "is a file, not a folder" if is_there(root) else "does not exist"
        raise InputError(f"--root {root} {problem}; {title} needs the folder that holds {markers[0]}")
    if folder := look_for_root(root, folders, markers):
        return folder
    below = " or ".join(f"{folder}/" for folder in folders)
    raise InputError(f"{root}: no {' or '.join(markers)} here or in {below}; {title} needs it")


def look_for_root(root: Path, folders: Sequence[str], markers: Sequence[str]) -> Path | None:
    """Search as `find_root` does, but return None if nothing is found, since the data may have another layout."""
    return next((folder for folder in (root, *(root / name for name in folders)) if first_of(folder, markers)), None)


def first_of(folder: Path, names: Sequence[str]) -> Path | None:
    """Return the first of ``names`` that exists in ``folder``."""
    return next((folder / name for name in names if is_there(folder / name)), None)


def is_there(path: Path) -> bool:
    """Return whether a path exists. Raises `InputError` as `is_folder` does."""
    return _mode(path) != 0


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder or a link to one. Raises `InputError` if the system refuses to tell."""
    return stat.S_ISDIR(_mode(path))


def is_file(path: Path) -> bool:
    """Return whether a path is a regular file or a link to one. Raises `InputError` as `is_folder` does."""
    return stat.S_ISREG(_mode(path))


def _mode(path: Path) -> int:
    with system_errors(f"{path}: cannot be accessed"):
        try:
            return os.stat(path).st_mode  # noqa: PTH116 (once an image)
        except (FileNotFoundError, NotADirectoryError):
            if os.path.islink(path):  # noqa: PTH114 (Path.is_symlink raises where os.path answers False)
                raise InputError(f"{path}: is a broken link; fix or delete it") from None
            return 0


def import_pyarrow(path: Path) -> Any:
    """Return the module pyarrow. Raises `InputError` if it is missing or unsafe."""
    pyarrow = optional_module("pyarrow", f"{path}: Parquet")
    # Before 14.0.1 a file could make pyarrow unpickle an extension type (CVE-2023-47248).
    if int(pyarrow.__version__.partition(".")[0]) < 15:
        problem = f"pyarrow {pyarrow.__version__} may unpickle what a file holds"
        raise InputError(f"{path}: {problem}; run pip install -U pyarrow")
    return pyarrow


INSIDE = re.compile(r"(\.tar|\.arrow)/", re.IGNORECASE)
MAX_BYTES = 1 << 29  # of one file, which is read at once
IMAGE_NAME = re.compile(r"(.+)/(0|[1-9][0-9]{0,17})", re.DOTALL)  # exactly one name per image, since the cache uses it
END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"


@dataclass(frozen=True)
class Member:
    """A file of ``size`` bytes in ``archive``, which had this modification time when it was indexed."""

    archive: Path
    size: int
    mtime_ns: int
    offset: int = 0  # in a tar file
    value: Any = None  # in an Arrow file: a scalar of pyarrow, whose bytes stay in the mapped file until used

    def open(self) -> BinaryIO:
        """Return the content as a file object. Raises `OSError` if the archive has changed or the file is too large."""
        if self.size > MAX_BYTES:
            raise OSError(f"{self.size} bytes, more than {MAX_BYTES} in an archive")
        if self.archive.stat().st_mtime_ns != self.mtime_ns:
            raise OSError(f"{self.archive.name} changed while it was being read")
        if self.value is not None:
            return io.BytesIO(self.value.as_py())
        with self.archive.open("rb") as file:
            file.seek(self.offset)
            return io.BytesIO(file.read(self.size))


def find_member(path: Path) -> Member | None:
    """Return the file of a path such as ``shards/0001.tar/cat.jpg``; None if there is no such file in an archive.

    Raises `InputError` if the archive is damaged, or needs a library that isn't installed.
    """
    text = path.as_posix()  # text is faster, and there may be a million images
    for match in INSIDE.finditer(text):
        archive, name = text[: match.end() - 1], text[match.end() :]
        try:
            status = os.stat(archive)  # noqa: PTH116 (as above)
        except (OSError, ValueError):
            return None
        if stat.S_ISREG(status.st_mode):
            identity = archive, status.st_size, status.st_mtime_ns
            return _tar_members(*identity).get(name) if match[1].lower() == ".tar" else _arrow_member(*identity, name)
    return None


def _identity(archive: Path) -> tuple[str, int, int]:
    """Return path, size and modification time, which identify an archive."""
    with system_errors(f"{archive}: cannot be read"):
        status = archive.stat()
    return str(archive), status.st_size, status.st_mtime_ns


def tar_members(archive: Path) -> dict[str, Member]:
    """Return the regular files of an archive by name, in its order. Raises `InputError` if it is damaged."""
    return _tar_members(*_identity(archive))


@cache
def _tar_members(path: str, size: int, mtime_ns: int) -> dict[str, Member]:
    archive = Path(path)
    members: dict[str, Member] = {}
    try:
        with open_regular(archive) as opened, tarfile.open(fileobj=opened, mode="r:") as file:
            for entry in file:
                # a negative size would send tarfile backwards
                if entry.size < 0 or entry.offset_data + entry.size > size:
                    raise InputError(f"{archive}: is cut off within {entry.name!r}; copy it again")
                if entry.isreg() and not entry.issparse():
                    name = posixpath.normpath(entry.name)
                    if name.startswith(("/", "../")) or "\0" in name:
                        hint = "pack it with names below its folder"
                        raise InputError(f"{archive}: {entry.name!r} leaves the archive; {hint}")
                    if name in members:
                        raise InputError(f"{archive}: {name!r} occurs twice; keep one")
                    members[name] = Member(archive, entry.size, mtime_ns, entry.offset_data)
            # tarfile also stops at damaged headers; only a block of zeros is the end of an archive
            opened.seek(file.offset)
            if opened.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise InputError(f"{archive}: is damaged or cut off at byte {file.offset}; copy it again")
    except InputError:
        raise
    except (OverflowError, MemoryError):  # from an extended header, whose claimed length tarfile trusts
        problem = "is damaged: a header claims more bytes than the file has"
        raise InputError(f"{archive}: {problem}; copy it again") from None
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:  # thousands of extended headers recurse
        raise InputError(f"{archive}: cannot be read as an uncompressed tar file ({reason_of(error)})") from None
    return members


def image_column(archive: Path, column: str) -> Any:
    """Map a column of images as a pyarrow array of bytes, null for rows without one. Raises `InputError`."""
    return _image_column(*_identity(archive), column)


def _arrow_member(archive: str, size: int, mtime_ns: int, name: str) -> Member | None:
    """Return the image ``COLUMN/ROW``; None if there is no such row, or no image in it."""
    if not (parts := IMAGE_NAME.fullmatch(name)):
        return None
    images, row = _image_column(archive, size, mtime_ns, parts[1]), int(parts[2])
    if row >= len(images) or not (value := images[row]).is_valid:
        return None
    return Member(Path(archive), value.as_buffer().size, mtime_ns, value=value)


@cache
def _image_column(archive: str, size: int, mtime_ns: int, column: str) -> Any:
    pyarrow = import_pyarrow(Path(archive))
    import pyarrow.compute as compute

    try:
        mapped = pyarrow.memory_map(archive).read_buffer()
        table = pyarrow.ipc.open_stream(mapped).read_all()
        indices = table.schema.get_all_field_indices(column)
        if len(indices) != 1:
            raise InputError(f"{archive}: has {len(indices)} columns {column!r}, expected one; save it again")
        images = table.column(indices[0])
        images.validate(full=True)  # offsets in a damaged file must not point outside it
        kind = images.type
        index = kind.get_field_index("bytes") if isinstance(kind, pyarrow.StructType) else -1
        if index < 0 or kind.field(index).type not in (pyarrow.binary(), pyarrow.large_binary()):
            shown = " ".join(str(kind).split())[:80]
            raise InputError(f"{archive}: column {column!r} is {shown}, expected images; name their column")
        content = compute.struct_field(images, "bytes")
    except InputError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = reason_of(error)
        raise InputError(f"{archive}: cannot be read as an Arrow file ({reason}); copy or save it again") from None
    # A reader accepts a file that ends between two batches, so check the end marker.
    if mapped.slice(max(0, size - len(END_OF_STREAM))).to_pybytes() != END_OF_STREAM:
        raise InputError(f"{archive}: is cut off; copy or save it again")
    return content

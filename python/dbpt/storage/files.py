"""Files are written completely or not at all, and read with one line that names what is wrong."""

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from dbpt.errors import InputError, closest

READ_BLOCK = 1 << 20
LONGEST_NAME = 255 - len("..12345678.tmp")  # bytes; the temporary file of `write_atomically` has a longer name


def open_regular(path: str | Path, *, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading, or a link to one if ``follow``. Raises `OSError` for anything else.

    A pipe would block until another process writes to it, and a device may never end.
    """
    # Without O_NONBLOCK, opening a pipe would already block.
    extra = getattr(os, "O_NONBLOCK", 0) | (0 if follow else getattr(os, "O_NOFOLLOW", 0))
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | extra))  # noqa: SIM115 (of Path.open)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
    return file


@contextlib.contextmanager
def system_errors(problem: str, hint: str = "") -> Iterator[None]:
    """Turn an `OSError`, or the error for a name that can't be, into `InputError`: ``problem: reason; hint``."""
    try:
        yield
    except (OSError, ValueError) as error:
        is_name = isinstance(error, UnicodeEncodeError) or "embedded null" in str(error)
        if isinstance(error, InputError) or not (isinstance(error, OSError) or is_name):
            raise
        meant = nearest_file(error.filename) if isinstance(error, FileNotFoundError) and error.filename else ""
        raise InputError(f"{problem}: {reason_of(error)}{meant}" + (f"; {hint}" if hint else "")) from None


def nearest_file(path: str | Path) -> str:
    """Return ``" (did you mean 'x'?)"`` for a file of nearly this name in its folder, but for digits; else nothing."""
    with contextlib.suppress(OSError, ValueError), os.scandir(Path(path).parent) as entries:
        names = {Path(entry.name).stem: entry.name for entry in islice(entries, 1000)}
        stem = Path(path).stem
        words = {name for name in names if name == stem or re.sub(r"\d", "", name) != re.sub(r"\d", "", stem)}
        meant = names.get(closest(stem, sorted(words)), "")
        return f" (did you mean {meant!r}?)" if meant not in ("", Path(path).name) else ""
    return ""


def check_name(name: str | os.PathLike[str], problem: str) -> None:
    """Refuse a name that no file can have."""
    with system_errors(problem):
        if b"\0" in os.fsencode(name):
            raise ValueError("embedded null byte")


def check_readable(path: Path, what: str, hint: str = "") -> None:
    """Refuse a path that is no regular file, or can't be opened. Errors call it ``what``."""
    with system_errors(f"{path}: cannot read the {what}", hint):
        open_regular(path).close()


def read_regular(path: str | Path, what: str, max_bytes: int = sys.maxsize) -> bytes:
    """Return the bytes of a regular file of at most ``max_bytes``. Errors call the file ``what``."""
    with system_errors(f"{path}: cannot read the {what}"), open_regular(path) as file:
        # Checked before reading, which could fill the memory, and again after it, as the file may have grown.
        is_small = os.fstat(file.fileno()).st_size <= max_bytes
        content = file.read() if is_small else b""
    if not is_small or len(content) > max_bytes:
        raise InputError(f"{path}: more than {max_bytes} bytes, too large for a {what}")
    return content


def is_missing(path: Path) -> bool:
    """Return whether there is nothing of that name, not even a link; False where nobody may look."""
    try:
        path.lstat()
    except (OSError, ValueError) as error:
        return isinstance(error, FileNotFoundError | NotADirectoryError)
    return False


def reason_of(error: BaseException) -> str:
    """Return the system's reason for an error."""
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def check_can_create(path: Path, *, option: str = "--out", with_parents: bool = True) -> None:
    """Refuse a path that could not be created. Folders above it may be missing only if ``with_parents``."""
    problem = f"{option} {path}: cannot create"
    check_name(path, problem)
    with system_errors(problem):  # such as a deleted working directory
        parents = path.absolute().parents
        parent = next(parent for parent in parents if os.path.lexists(parent))
    if not os.path.isdir(parent):  # noqa: PTH112 (Path.is_dir raises where it may not look)
        raise InputError(f"{problem}: {parent} is not a folder")
    if parent != parents[0] and not with_parents:
        raise InputError(f"{option} {path}: there is no folder {path.parent}")
    if not os.access(parent, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise InputError(f"{problem}: {parent} is not writable")
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.absolute().relative_to(parent).parts):
        raise InputError(f"{problem}: a name in it is too long, at most {LONGEST_NAME} bytes")


def check_output(
    option: str,
    path: Path,
    *,
    overwrite: bool,
    reads: Iterable[str | Path] = (),
    ending: str = "",
    advice: str = "choose another name",
) -> None:
    """Refuse an output that exists (unless ``overwrite``), is no regular file or can't be made.

    So is a name without the ``ending`` of its format. A file in ``reads``, or in a folder among them, is never
    replaced. ``advice`` says what to do about a ``path`` that is no regular file.
    """
    if ending and path.suffix.lower() != ending:
        raise InputError(f"{option} {path}: is written as {ending[1:].upper()}; choose a name that ends in {ending}")
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        check_can_create(path, option=option, with_parents=False)
        return
    except (OSError, ValueError) as error:
        raise InputError(f"{option} {path}: cannot be written: {reason_of(error)}; {advice}") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{option} {path}: exists and is not a regular file; {advice}")
    if not overwrite:
        raise InputError(f"{option} {path}: exists; choose another name, or replace it with --overwrite")
    parents = (path, *Path(os.path.realpath(path)).parents)
    for read in reads:
        if os.path.exists(read) and any(os.path.samefile(parent, read) for parent in parents):  # noqa: PTH110, PTH121
            what, way = (f"in the folder {read}", "folder") if os.path.isdir(read) else ("a file", "name")  # noqa: PTH112
            raise InputError(f"{option} {path}: is {what} that this command reads; choose another {way}")


def write_atomically(
    path: Path, content: bytes | str | Iterable[str] | Iterable[bytes | memoryview], *, overwrite: bool = True
) -> None:
    """Write to a temporary file in the same folder, fsync, rename. Text becomes UTF-8; file names keep their bytes.

    ``content`` may come in parts, so that it is never in memory as a whole.

    Raises `InputError` if the write fails, or if ``path`` exists without ``overwrite``; ``path`` then stays as it was.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        temporary = Path(name)
        try:
            for part in (content,) if isinstance(content, bytes | str) else content:
                rest = memoryview(part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part)
                # A single write may take only a part, for example when the disk is nearly full.
                while rest:
                    rest = rest[os.write(handle, rest) :]
            # By descriptor if possible: in a shared folder the name may belong to another file by now.
            os.chmod(handle if os.chmod in os.supports_fd else temporary, 0o644)  # noqa: PTH101
            # Before the rename. After a crash the new name could otherwise belong to an empty file.
            os.fsync(handle)
        finally:
            os.close(handle)
        if not overwrite and os.path.lexists(path):
            raise FileExistsError
        temporary.replace(path)
        temporary = None
    except FileExistsError:
        raise InputError(f"{path}: exists; it appeared while this was computed. Choose another name") from None
    except OSError as error:
        advice = "choose another folder" if error.errno == errno.ENOENT else "free space or choose another folder"
        raise InputError(f"{path}: cannot write: {error.strerror}; {advice}") from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):  # report only the error above
                temporary.unlink()


def file_sha256(file: Path, *, follow: bool = True) -> str:
    """Return the SHA-256 of a file, or of the target of a link if ``follow``. Raises `OSError`."""
    digest = hashlib.sha256()
    with open_regular(file, follow=follow) as opened:
        while block := opened.read(READ_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk. Raises `InputError` if that fails."""
    if os.name != "posix":  # other systems can't open a folder
        return
    with system_errors(f"{folder}: cannot write", "free space or choose another folder"):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON as `write_atomically` does. Refuses NaN and escapes bytes that are not UTF-8."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def check_version(path: Path, written: object, version: int) -> None:
    """Refuse a schema version other than ``version``, the present one."""
    if type(written) is int and 0 < written != version:
        age, hint = ("a newer", ": update dbpt") if written > version else ("an older", "; make it again")
        raise InputError(f"{path}: written by {age} dbpt (schema version {written}; this one reads {version}){hint}")
    if type(written) is not int or written != version:
        raise InputError(f"{path}: not of schema version {version}, which this version of dbpt reads")

"""Files are written completely or not at all, and read with one line that names what is wrong; arrays and tensors.

Our tensors are safetensors files with a version and a digest, or arrays by key in a cache; nothing is unpickled.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from dbpt.errors import InputError, closest

logger = logging.getLogger(__name__)

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


DIGEST = "sha256"  # metadata entry: the SHA-256 of everything else in the file


def write_tensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None, *, version: int
) -> None:
    """Write arrays as safetensors, atomically. The same arrays and metadata give the same bytes."""
    from safetensors.numpy import save  # only here, as samplers need NumPy alone

    header, data = _split(save({name: np.asarray(array, order="C") for name, array in tensors.items()}))
    entries = header["__metadata__"] = {"schema_version": str(version), **(metadata or {})}
    entries[DIGEST] = _digest(header, data)
    text = _canonical(header)
    # safetensors aligns the data to 8 bytes, by blanks at the end of the header.
    text += b" " * (-len(text) % 8)
    parts: list[bytes | memoryview] = [len(text).to_bytes(8, "little"), text, data]
    write_atomically(path, parts)


def read_tensors(
    path: Path, what: str, *, version: int, hint: str = "fit again", needs: Iterable[str] = (), most: int = sys.maxsize
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Return the arrays and the metadata that `write_tensors` wrote. ``needs`` names arrays that must be there.

    Refuses a changed file, naming the ``hint``, and one of more bytes than ``most``, unread.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    content = read_regular(path, what, most)
    try:
        tensors = load(content)
        header, data = _split(content)
        metadata = header["__metadata__"]
        check_version(path, int(metadata["schema_version"]), version)
        if metadata.pop(DIGEST) != _digest(header, data):
            raise InputError(f"{path}: damaged: its content differs from what was written into this {what}; {hint}")
        if missing := set(needs) - tensors.keys():
            raise InputError(f"{path}: has no {min(missing)!r}; {hint}")
    except InputError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: not a readable {what} ({error or type(error).__name__}); {hint}") from None
    return tensors, metadata


def are_finite(*arrays: NDArray[Any]) -> bool:
    """Return whether all are float32 without NaN and infinities."""
    return all(array.dtype == np.float32 and bool(np.isfinite(array).all()) for array in arrays)


def map_tensor(
    path: Path, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], *, follow: bool = True
) -> "np.memmap[Any, np.dtype[Any]]":
    """Map a tensor of a file whose header was checked, so that only what is indexed is read. Raises `OSError`."""
    with open_regular(path, follow=follow) as file:
        length = int.from_bytes(file.read(8), "little")
        begin = json.loads(file.read(length))[name]["data_offsets"][0]
        return np.memmap(file, dtype, "r", 8 + length + begin, shape)


def _split(content: bytes) -> tuple[dict[str, Any], memoryview]:
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), memoryview(content)[end:]


def _digest(header: Mapping[str, Any], data: memoryview) -> str:
    digest = hashlib.sha256(_canonical(header))
    digest.update(data)
    return digest.hexdigest()


def _canonical(header: Mapping[str, Any]) -> bytes:
    """Return the header as JSON with sorted metadata; the library writes them in random order."""
    ordered = {name: dict(sorted(value.items())) if name == "__metadata__" else value for name, value in header.items()}
    return json.dumps(ordered, separators=(",", ":")).encode()


VERSION = 1
TEXTS = "texts"  # folder in the cache, of the features of sentences
HINT = "it is computed again"
FILE_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")


@dataclasses.dataclass(frozen=True)
class StoredArrays:
    """The arrays of finite float32 in ``folder``, which `put` creates."""

    folder: Path

    def get(self, key: str, shape: Sequence[int]) -> NDArray[np.float32] | None:
        """Return the array under ``key``, a SHA-256 in hex; None if there is none, or a damaged one."""
        file = self.folder / f"{key}.safetensors"
        if is_missing(file):
            return None
        try:
            return self.read(file, shape)
        except InputError as error:
            logger.info(str(error))
            return None

    def put(self, key: str, array: NDArray[np.float32]) -> None:
        """Keep ``array`` under ``key``, if the folder can be written, and is not a link."""
        if os.path.islink(self.folder):  # noqa: PTH114 (raises nothing)
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_tensors(self.folder / f"{key}.safetensors", {"values": array}, {"key": key}, version=VERSION)
            # Of a process that was killed; one that writes the same at this moment can do without its own.
            for leftover in self.folder.glob(f".{key}.safetensors.*.tmp"):
                leftover.unlink()
        except (InputError, OSError) as error:
            logger.debug(f"not kept: {error}")

    def read(self, file: Path, shape: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Return the array in one of the ``files``. Raises `InputError` for a file that `put` did not write."""
        if os.path.islink(file):  # noqa: PTH114
            raise InputError(f"{file}: a link, not a file of dbpt; delete it, {HINT}")
        tensors, metadata = read_tensors(file, "stored array", version=VERSION, hint=HINT, needs=["values"])
        values: NDArray[Any] = tensors["values"]
        is_right = shape is None or values.shape == tuple(shape)
        if metadata.get("key") != file.stem or not is_right or not are_finite(values):
            raise InputError(f"{file}: holds another array than its name says; delete it, {HINT}")
        return values

    def files(self) -> list[Path]:
        """Return the files with our names."""
        if not os.path.isdir(self.folder) or os.path.islink(self.folder):  # noqa: PTH112, PTH114
            return []
        with system_errors(f"{self.folder}: cannot be read", "make it readable"):
            return sorted(file for file in self.folder.iterdir() if FILE_NAME.fullmatch(file.name))


DTYPES: dict[str, np.dtype[Any]] = {f"F{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)}
TENSOR_NAMES = ("features", "embeddings", "image_embeddings", "img_emb")
AS_NUMBERS = "numbers with np.save(FILE, features.astype('float32'))"


def open_npy(path: Path, name: str = "features", hint: str = AS_NUMBERS) -> NDArray[Any]:
    """Map the array in a ``.npy`` file, which has no pickled objects; ``hint`` says how to save without."""
    with path.open("rb") as file:
        is_npy = file.read(6) == b"\x93NUMPY"
    if not is_npy:
        raise InputError(f"{path}: is not a .npy file; write it with np.save(FILE, {name})")
    try:
        array: NDArray[Any] = np.lib.format.open_memmap(path, mode="r")
        return array
    except Exception as error:  # NumPy's parser raises anything for a wrong header
        if "Python objects" in str(error):
            raise InputError(f"{path}: holds pickled objects, which are never loaded; save {hint}") from None
        # The messages of NumPy's own errors help; those of Python's parser, which it doesn't catch, don't.
        reason = reason_of(error)[:120] if isinstance(error, OSError | ValueError) else "not a .npy header"
        raise InputError(f"{path}: is not a whole .npy file ({reason}); write it again") from None


def open_safetensors(path: Path) -> NDArray[Any]:
    """Map the only tensor of a ``.safetensors`` file, or the first of `TENSOR_NAMES` that it has."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:  # checks the header
        names = list(file.keys())
        name = names[0] if len(names) == 1 else next((name for name in TENSOR_NAMES if name in names), None)
        if name is None:
            present = ", ".join(names[:8]) or "none"
            raise InputError(f"{path}: which tensor has the features? Call it {TENSOR_NAMES[0]!r}; found: {present}")
        part = file.get_slice(name)
        shape, dtype = tuple(part.get_shape()), part.get_dtype()
    if dtype not in DTYPES:
        expected = "F16, F32 or F64; convert it with features.float()"
        raise InputError(f"{path}: tensor {name!r} holds {dtype}, expected {expected}")
    if not all(shape):
        return np.zeros(shape, DTYPES[dtype])
    return map_tensor(path, name, DTYPES[dtype], shape)

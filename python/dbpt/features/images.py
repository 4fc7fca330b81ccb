"""Images: where they are found, and how they are decoded and cropped."""

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from dbpt.arguments import available_cpus, is_tensor
from dbpt.data.layouts.image_folder import files_below
from dbpt.data.paths import ENDINGS, find_member
from dbpt.environment import local_size
from dbpt.errors import InputError, one_line
from dbpt.storage.files import open_regular, reason_of

if TYPE_CHECKING:
    import torch

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
MAGICS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"BM", b"GIF8", b"II*\0", b"MM\0*")
START_OF_SCAN, SCAN_BLOCK = b"\xff\xda", 1 << 20
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
MAX_PIXELS = 89_478_485  # above this Pillow warns of a decompression bomb
MAX_BYTES = 1 << 29
MAX_SCANNED = 1 << 30  # pixels times scans of a progressive JPEG; a scan of a few bytes visits all pixels
MAX_ASPECT = 200  # resizing a thinner image by its short side would need too much memory
LOADING = threading.Lock()  # two threads may get the same image, which Pillow loads from its file at first use


class UnreadableImage(ValueError):
    """An image file that can't be used.

    Args:
        reason: the message; it is put on one line.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))


class UnreachableImage(UnreadableImage):
    """The system could not read the file, perhaps temporarily; its content is unknown."""


def open_image(path: Path) -> Image.Image:
    """Decode an image file in a single thread.

    Args:
        path: the file.

    Returns:
        The whole image.

    Raises:
        UnreadableImage: for any failure.
    """
    with pillow_warnings():
        return read_image(path)


def read_image(
    path: Path,
    *,
    size_and_mtime: tuple[int, int] | None = None,
    look: "Look | None" = None,
    pixels: int | None = None,
) -> Image.Image:
    """Decode an image file completely. Refuse it if it no longer has ``size_and_mtime``.

    ``look`` is called with the image as it was opened, with its metadata, and with the result. If an image of so many
    ``pixels`` in width and height will do, a larger JPEG is decoded at a fraction of its size, which takes less time.
    Raises `UnreadableImage` for any failure. Call it within `pillow_warnings`, which threads share.
    """
    with _one_reason():
        opened, stamp = _open_with_stamp(path)
        with opened as file:
            if size_and_mtime not in (None, stamp):
                raise UnreachableImage("changed while it was being read")
            return decode_image(file, look, pixels)


def read_crop(
    source: Path | Image.Image,
    crop: Callable[[Image.Image, NDArray[np.uint8] | None], NDArray[np.uint8]],
    out: NDArray[np.uint8] | None = None,
    *,
    size_and_mtime: tuple[int, int] | None = None,
    look: "Look | None" = None,
) -> NDArray[np.uint8]:
    """Read and crop a file or an image.

    Args:
        source: a file, or an image in memory.
        crop: makes an (H, W, 3) uint8 array of the image, in its second argument if that isn't None.
        out: (H, W, 3) uint8 to fill; by default a new array.
        size_and_mtime: bytes and nanoseconds that the file must have, else it is refused as changed.
        look: called with the image of a file as it was opened, with its metadata, and as it is cropped.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UnreadableImage: for any failure, also if cropping fails.
    """
    with _one_reason():
        if isinstance(source, Path):
            image = read_image(source, size_and_mtime=size_and_mtime, look=look)
        else:
            _check_size(source)
            with LOADING:
                source.load()
            image = _resizable(source)
        return crop(image, out)


@contextmanager
def _one_reason() -> Iterator[None]:
    """Turn any exception into `UnreadableImage`: Pillow's decoders raise almost any type for hostile bytes."""
    try:
        yield
    except UnreadableImage:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableImage(f"more than {MAX_PIXELS // 10**6} megapixels") from None
    except MemoryError:
        raise UnreachableImage("not enough memory") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:  # Pillow's own OSErrors have none
            raise UnreachableImage(reason_of(error)) from None
        raise UnreadableImage(reason_of(error)) from None


def _open_with_stamp(path: Path) -> tuple[BinaryIO, tuple[int, int]]:
    """Open a regular file, also inside an archive; return it with its size and modification time."""
    try:
        file = open_regular(path)
    except NotADirectoryError:
        if member := find_member(path):
            return member.open(), (member.size, member.mtime_ns)
        raise
    status = os.fstat(file.fileno())
    if status.st_size > MAX_BYTES:
        file.close()
        raise UnreadableImage(f"{status.st_size} bytes, more than {MAX_BYTES}")
    return file, (status.st_size, status.st_mtime_ns)


@contextmanager
def decoding_threads(workers: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of decoding threads. On exit, tasks that have not begun are cancelled.

    Args:
        workers: the number of threads; by default this rank's share of the processors, at most 16.
    """
    own = max(1, available_cpus() // local_size())
    pool = ThreadPoolExecutor(workers or min(16, own), thread_name_prefix="dbpt-decode")
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def decode_image(file: BinaryIO, look: "Look | None" = None, pixels: int | None = None) -> Image.Image:
    """Decode an open file as `read_image` does, into a mode that Pillow can resize and convert to RGB."""
    image = _identified(file)
    if image.format in ("JPEG", "MPO"):
        _check_scans(file, image.width * image.height)
        if pixels is not None:
            image.draft(None, (pixels, pixels))
    resizable = _resizable(image)
    if look is not None:
        look(image, resizable)
    return resizable


def _resizable(image: Image.Image) -> Image.Image:
    image.load()
    # Pillow clips 16-bit grey levels at 255 instead of scaling them.
    if image.mode.startswith("I"):
        pixels = np.asarray(image)
        if pixels.min() >= 0 and pixels.max() <= 0xFFFF:
            return Image.fromarray((pixels >> 8).astype(np.uint8))
    if image.mode not in MODES:
        raise UnreadableImage(f"pixels of mode {image.mode}, whose range isn't known; save it as 8-bit RGB")
    if image.mode == "P":
        image = image.copy()
        image.info.pop("transparency", None)  # the transform drops alpha anyway, and Pillow would warn
    return image


def _identified(file: BinaryIO) -> Image.Image:
    """Return the image with only its header read."""
    try:
        image = Image.open(file, formats=FORMATS)
    except UnidentifiedImageError:
        file.seek(0)
        start = file.read(12)
        if not start:
            raise UnreadableImage("the file is empty") from None
        if start.startswith(MAGICS):
            raise UnreadableImage("the image's header is damaged") from None
        reason = f"not a JPEG, PNG, WebP, BMP, GIF or TIFF image (begins with {start!r})"
        raise UnreadableImage(reason) from None
    _check_size(image)
    return image


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableImage(f"{width}×{height} is more than {MAX_PIXELS // 10**6} megapixels")
    if min(width, height) < 1 or max(width, height) > MAX_ASPECT * min(width, height):
        raise UnreadableImage(f"{width}×{height} is thinner than 1:{MAX_ASPECT}")


@contextmanager
def pillow_warnings() -> Iterator[None]:
    """Make Pillow's bomb warning an error, and silence others, which name no file. Enter before starting threads."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _check_scans(file: BinaryIO, pixels: int) -> None:
    """Refuse an image that takes minutes to decode, during which Python handles no signals."""
    position, scans = file.tell(), 0
    file.seek(0)
    while block := file.read(SCAN_BLOCK):
        scans += block.count(START_OF_SCAN)
    file.seek(position)
    if scans * pixels > MAX_SCANNED:
        raise UnreadableImage(f"{scans} scans of {pixels / 1e6:.0f} megapixels; save it as a plain JPEG")


Look: TypeAlias = Callable[[Image.Image, Image.Image], None]
ImageSource: TypeAlias = "str | os.PathLike[str] | Image.Image | NDArray[np.uint8] | torch.Tensor"
EXPECTED = "expected a path, a folder, a PIL image, an array (H, W, 3), a tensor (3, H, W), or a list of these"


def list_images(images: "ImageSource | Iterable[ImageSource]") -> list[Path | Image.Image]:
    """Return the images to classify; a file that is missing is found only when it is read.

    Args:
        images: files, folders, PIL images, arrays (H, W, 3) uint8, and tensors (3, H, W) uint8 or floats from 0 to 1. A
            4-D array is a list.

    Returns:
        Files and PIL images in the given order; those in and below a folder sorted.

    Raises:
        InputError: for anything else, for a folder without image files, and for no image at all.
    """
    if hasattr(images, "columns"):  # iterating a data frame gives the names of its columns
        raise InputError(f"images is a {type(images).__name__}; give its column of paths")
    if _is_one(images):
        return _images_of(images, "images")
    items = cast(Iterable[Any], images)
    sources = [source for number, item in enumerate(items) for source in _images_of(item, f"images[{number}]")]
    if not sources:
        raise InputError(f"images is empty; {EXPECTED}")
    return sources


def is_one_image(images: Any) -> bool:
    """Return whether ``images`` is one image, no folder or collection of them.

    Args:
        images: what `list_images` takes.
    """
    is_path = isinstance(images, str | os.PathLike)
    return _is_one(images) and not (is_path and os.path.isdir(images))  # noqa: PTH112 (as below)


def _is_one(images: Any) -> bool:
    if isinstance(images, np.ndarray):
        return images.dtype.kind not in "OU" and images.ndim != 4
    if is_tensor(images):
        return bool(images.ndim != 4)
    return isinstance(images, str | bytes | os.PathLike) or not isinstance(images, Iterable)


def _images_of(image: Any, name: str) -> list[Path | Image.Image]:
    if isinstance(image, Image.Image):
        return [image]
    if isinstance(image, np.ndarray):
        return [_from_array(image, name)]
    if is_tensor(image):
        return [_from_tensor(image, name)]
    if not isinstance(image, str | os.PathLike):
        raise InputError(f"{name} is of type {type(image).__name__}; {EXPECTED}")
    if str(image).startswith(("http:/", "https:/")):
        raise InputError(f"{name} is {str(image)!r}, a URL: download the images first")
    path = str(os.fspath(image))  # str of a NumPy string, which os.scandir takes for bytes
    if not os.path.isdir(path):  # noqa: PTH112 (Path.is_dir raises on a name that is too long)
        return [Path(path)]
    if files := [Path(file) for file in files_below(Path(), path) if file.lower().endswith(ENDINGS)]:
        return [*files]
    raise InputError(f"{path}: this folder holds no image file ({', '.join(ENDINGS)})")


def _from_array(array: NDArray[Any], name: str) -> Image.Image:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or not array.size:
        raise InputError(f"{name} is an array of {array.dtype} and shape {array.shape}; expected uint8 of (H, W, 3)")
    return Image.fromarray(array)


def _from_tensor(tensor: "torch.Tensor", name: str) -> Image.Image:
    tensor = tensor.detach()
    kind, shape = str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)
    is_float = tensor.is_floating_point()
    if not (is_float or kind == "uint8") or len(shape) != 3 or shape[0] != 3 or not tensor.numel():
        raise InputError(f"{name} is a tensor of {kind} and shape {shape}; expected uint8 or floats of (3, H, W)")
    if is_float:
        low, high = float(tensor.min()), float(tensor.max())
        if not 0 <= low <= high <= 1:  # or NaN
            problem = f"{name} is a tensor of {kind} with values from {low:g} to {high:g}"
            raise InputError(f"{problem}; expected 0 to 1, not normalised")
        tensor = (tensor.float() * 255).round()
    return Image.fromarray(tensor.permute(1, 2, 0).cpu().numpy().astype(np.uint8))

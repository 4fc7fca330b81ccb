"""The files that name a backbone: weights, a model's config, a tokenizer. They are checked without torch."""

import os
from pathlib import Path

from dbpt.errors import InputError
from dbpt.storage.files import check_readable, open_regular, system_errors

PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".tar", ".npz", ".npy")
_PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"\x93NUMPY", b"\x1f\x8b")


def check_named_files(model: str | None, pretrained: str | None, tokenizer: str | None) -> None:
    """Refuse names of `load_backbone` that are paths of files that can't be read."""
    if model is not None and (model.lower().endswith(".json") or model.startswith("local-dir:")):
        in_folder = [model.removeprefix("local-dir:"), "open_clip_config.json"]
        check_readable(Path(model) if model.lower().endswith(".json") else Path(*in_folder), "model config")
    if pretrained is not None and looks_like_path(pretrained):
        check_weights_file(Path(pretrained))
    if tokenizer is not None:
        tokenizer_file(Path(tokenizer))


def check_weights_file(path: Path) -> None:
    """Refuse a file that can't be read, or that could run code when it is opened."""
    with system_errors(f"{path}: cannot read the weights file"), open_regular(path) as file:
        magic = file.read(8)
    if path.suffix.lower() in PICKLE_SUFFIXES or magic.startswith(_PICKLE_MAGIC):
        raise InputError(
            f"{path}: a pickled or zipped checkpoint, which can run code when it is opened, is not loaded; "
            "save its state dict once with safetensors.torch.save_file and give the .safetensors file"
        )
    if path.suffix.lower() != ".safetensors":
        hint = "; a config belongs to --model" if path.suffix.lower() == ".json" else ""
        raise InputError(f"{path}: weights must be a .safetensors file{hint}")


def tokenizer_file(path: Path) -> Path:
    """Return `path`, or the tokenizer.json in the folder `path`."""
    file = path / "tokenizer.json" if os.path.isdir(path) else path  # noqa: PTH112 (Path.is_dir raises on long names)
    check_readable(file, "tokenizer", "expected a tokenizer.json or its folder")
    if file.stat().st_size > 1 << 28:
        raise InputError(f"{file}: more than 256 MiB, too large for a tokenizer")
    return file


def looks_like_path(pretrained: str) -> bool:
    """Return whether `pretrained` means a local file; open_clip's tags have no dots or slashes."""
    suffix = Path(pretrained).suffix.lower()
    return "/" in pretrained or "\\" in pretrained or suffix == ".safetensors" or suffix in PICKLE_SUFFIXES

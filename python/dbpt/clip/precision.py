"""The precision of the image tower: its names, and which one ``auto`` is on a processor."""

from collections.abc import Sequence
from typing import Any

import torch

from dbpt.errors import InputError, nearest

# Half precision needs half the memory, and is faster if the hardware supports it.
IMAGE_PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
AUTO = "auto"
FEWEST_PARAMETERS = 10_000_000
"""Smaller towers take about as long as decoding an image does, so ``auto`` leaves them exact: float32."""


def check_image_precision(precision: object, names: Sequence[str] = (AUTO, *IMAGE_PRECISIONS)) -> None:
    """Raise `InputError` for a precision that is none of ``names``."""
    if precision not in names:
        problem = f"{precision!r} is none of {', '.join(names)}{nearest(str(precision), list(names))}"
        raise InputError(f"--image-precision: {problem}")


def image_precision_of(spec: dict[str, Any]) -> str:
    """Return the precision of a finished spec, float32 by default. Raises `InputError` for an unknown one."""
    precision = spec.get("image_precision", "float32")
    check_image_precision(precision, list(IMAGE_PRECISIONS))
    return str(precision)


def best_precision(image_tower: torch.nn.Module, device: torch.device) -> str:
    """Return bf16 for a large tower on a processor that multiplies bfloat16 in hardware, else float32."""
    is_large = sum(parameter.numel() for parameter in image_tower.parameters()) >= FEWEST_PARAMETERS
    return "bf16" if is_large and multiplies_bf16(device) else "float32"


def multiplies_bf16(device: torch.device) -> bool:
    """Return whether ``device`` multiplies bfloat16 in hardware: AVX512_BF16 or AMX, or tensor cores since Ampere.

    torch emulates it elsewhere, which is slower than float32. oneDNN, which has the kernels for a CPU, can't be asked:
    it also says yes where it emulates.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    has_instructions = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return device.type == "cpu" and has_instructions and has_onednn

"""An image tower held in bfloat16 or float16: half the memory, and faster where the processor multiplies such numbers.

The text tower stays in float32: frozen it runs once, and in training it has a precision of its own (`text_precision`).
"""

from typing import Any

import torch

from dbpt.errors import InputError, nearest

IMAGE_PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def image_precision_of(spec: dict[str, Any]) -> str:
    """What a backbone's spec says of its image tower, float32 if nothing; raises `InputError` for what there isn't."""
    precision = spec.get("image_precision", "float32")
    if precision not in IMAGE_PRECISIONS:
        names = list(IMAGE_PRECISIONS)
        raise InputError(
            f"--image-precision: {precision!r} is none of {', '.join(names)}{nearest(str(precision), names)}"
        )
    return str(precision)


def refuse_fp16_on_cpu(precision: str, device: torch.device) -> None:
    """Nobody should choose it there: it is several times slower than float32. (A run made with it can be loaded.)"""
    if precision == "fp16" and device.type == "cpu":
        raise InputError("--image-precision fp16: meant for GPUs, slower than float32 on a CPU; choose bf16 or float32")


def hold_image(model: torch.nn.Module, precision: str) -> None:
    """Convert the image tower of ``model`` and nothing else, in place."""
    assert isinstance(model.visual, torch.nn.Module)
    model.visual.to(IMAGE_PRECISIONS[precision])

"""The image tower in half precision: near float32, told by key and spec, kept by a run; the text side as before."""

import json

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dbpt.clip import load_backbone, load_backbone_from_spec
from dbpt.errors import InputError


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def demo() -> tuple:
    """The small CLIP of the demo, whose weights were trained."""
    from dbpt.data.demo import mini_clip_paths

    return mini_clip_paths()


@pytest.fixture(scope="module")
def plain(demo):
    return load_backbone(*demo)


@pytest.fixture(scope="module")
def half(demo):
    return load_backbone(*demo, image_precision="bf16")


def test_features_are_near_those_of_float32_and_text_is_the_same(plain, half, crops):
    near, exact = half.encode_image(crops), plain.encode_image(crops)
    assert near.dtype == torch.float32
    torch.testing.assert_close(near.norm(dim=-1), torch.ones(6))
    cosines = (near * exact).sum(dim=-1)
    assert cosines.min() > 0.9995  # 0.99994 was measured
    assert not torch.equal(near, exact)
    assert {parameter.dtype for parameter in half.model.visual.parameters()} == {torch.bfloat16}
    torch.testing.assert_close(half.encode_text(["a bird"]), plain.encode_text(["a bird"]), rtol=0, atol=0)
    assert half.logit_scale == plain.logit_scale


def test_crops_are_encoded_as_their_pixels_are(plain, half, crops):
    for backbone in (plain, half):
        pixels = backbone.preprocess.normalise(crops)
        torch.testing.assert_close(backbone.encode_image(crops), backbone.encode_image(pixels), rtol=0, atol=0)
    with torch.no_grad():
        towers = half.model.encode_image(half.preprocess.normalise(crops).bfloat16())
    torch.testing.assert_close(half.encode_image(crops), F.normalize(towers.float(), dim=-1), rtol=0, atol=0)


def test_key_and_spec_tell_it(plain, half, crops):
    keys = plain.encoder_key, half.encoder_key
    assert {name for name in keys[0] if keys[0][name] != keys[1][name]} == {"dtype"}
    assert [key["dtype"] for key in keys] == ["float32", "bf16"]
    again = load_backbone_from_spec(json.loads(json.dumps(half.spec)))
    assert again.spec == half.spec
    torch.testing.assert_close(again.encode_image(crops), half.encode_image(crops), rtol=0, atol=0)
    older = {name: value for name, value in plain.spec.items() if name != "image_precision"}
    assert load_backbone_from_spec(older).encoder_key == plain.encoder_key


def test_what_there_is_not_is_refused(plain, demo):
    expected = r"^--image-precision: 'bf61' is none of auto, float32, bf16, fp16 \(did you mean 'bf16'\?\)$"
    with pytest.raises(InputError, match=expected):
        load_backbone(*demo, image_precision="bf61")
    for found in ("bf61", "auto"):  # a finished spec has a definite one
        with pytest.raises(InputError, match=f"^--image-precision: '{found}' is none of float32, bf16, fp16"):
            load_backbone_from_spec(plain.spec | {"image_precision": found})


def test_float16_is_not_chosen_on_a_cpu_but_a_run_made_with_it_is_read(plain, demo, crops):
    with pytest.raises(InputError, match="^--image-precision fp16: meant for GPUs, .* choose bf16 or float32$"):
        load_backbone("never looked for", image_precision="fp16")
    read = load_backbone_from_spec(plain.spec | {"image_precision": "fp16"})
    assert (read.encode_image(crops) * plain.encode_image(crops)).sum(dim=-1).min() > 0.9999
    with pytest.raises(InputError, match="^the image tower gives NaN.*: float16 is too small for it; choose .* bf16$"):
        read.encode_image(torch.full((1, 3, 64, 64), 1e30))

"""A tower in chunks is the tower in one piece; memory says how many. A tower in half precision is nearly the same."""

import open_clip
import pytest
import torch
from test_text_tower import WORDINGS, build, tokenizer_of
from torch.nn import functional as F

from dbpt.clip.chunked_text_tower import ChunkedTower, activation_bytes, fit_text_tower, hold_text
from dbpt.clip.prompt_tokens import prompt_token_ids
from dbpt.clip.shared_prefix_tower import build_text_tower, text_path
from dbpt.clip.text_tower import text_module, token_embedding

PATHS = ("plain", "custom-blocks", "siglip")
NAMES = [*WORDINGS, "cat", "sea gull", "sea eagle", "a bird of the very high seas", "house"]


def case(name, specific=False):
    layout = prompt_token_ids(tokenizer_of(name), NAMES, 3, owners=range(len(NAMES)) if specific else None)
    context = torch.randn(*[len(NAMES)] * specific, 3, 32, generator=torch.Generator().manual_seed(0))
    return build(name), layout, context.requires_grad_()


def gradient(tower, context):
    weights = torch.randn(len(NAMES), 16, generator=torch.Generator().manual_seed(1))
    features = tower(context)
    return features.detach(), torch.autograd.grad((features * weights).sum(), context)[0]


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize(("parts", "specific"), [(2, True), (4, False), (len(NAMES), True)])
def test_chunks_give_the_features_and_gradient_of_one_piece(name, parts, specific):
    model, layout, context = case(name, specific)
    features, expected = gradient(build_text_tower(model, layout), context)
    rows = [list(range(first, len(NAMES), parts)) for first in range(parts)]
    found = gradient(ChunkedTower(model, layout, rows), context)
    torch.testing.assert_close(found[0], features, rtol=0, atol=5e-6)
    torch.testing.assert_close(found[1], expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", PATHS)
def test_chunks_stay_within_the_memory(name):
    model, _, context = case(name)
    names = [f"{n} {m}" for n in NAMES for m in range(20)]
    layout = prompt_token_ids(tokenizer_of(name), names, 3)
    whole = build_text_tower(model, layout)
    kept = activation_bytes(whole, context)
    assert not isinstance(fit_text_tower(model, layout, context, memory_mb=2e-6 * kept), ChunkedTower)
    for share in (2, 10):
        tower = fit_text_tower(model, layout, context, memory_mb=1e-6 * kept / share)
        assert isinstance(tower, ChunkedTower)
        assert share <= len(tower.chunks) <= 2 * share
        assert max(activation_bytes(chunk, context) for chunk in tower.chunks) < 1.25 * kept / share
        assert activation_bytes(tower, context) < kept / 100
        torch.testing.assert_close(tower(context), whole(context), rtol=0, atol=5e-6)


def test_a_chunk_has_at_least_one_prompt():
    model, layout, context = case("plain")
    assert len(fit_text_tower(model, layout, context, memory_mb=1e-9).chunks) == len(NAMES)


@pytest.mark.parametrize("name", ["plain", "layer-scale", "custom-blocks", "coca", "siglip"])
def test_a_held_tower_gives_nearly_the_same(name):
    model, layout, context = case(name)
    features, expected = gradient(build_text_tower(model, layout), context)
    tower = fit_text_tower(model, layout, context, precision="bf16", memory_mb=100)
    parameters = text_module(tower.frozen).transformer.resblocks.parameters()
    assert {parameter.dtype for parameter in parameters if parameter.ndim > 1} == {torch.bfloat16}
    found = gradient(tower, context)
    assert found[0].dtype == found[1].dtype == torch.float32
    assert F.cosine_similarity(found[0], features).min() > 0.999
    assert F.cosine_similarity(found[1].flatten(), expected.flatten(), dim=0) > 0.99
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_held_tower_has_no_image_tower_and_shares_the_embedding():
    model = build("plain")
    held = hold_text(model, "bf16")
    assert sum(parameter.numel() for parameter in held.visual.parameters()) == 0
    assert token_embedding(held) is token_embedding(model)
    assert hold_text(model, "float32") is model
    assert isinstance(held, open_clip.CLIP)
    assert text_path(held) == text_path(model) == "shared-prefix"

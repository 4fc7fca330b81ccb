"""Every text path equals the model's own encode_text, in value and in the context's gradient."""

from functools import cache

import open_clip
import pytest
import torch
from torch.nn import functional as F

from dbpt.errors import InputError
from dbpt.text_tower import build_text_tower, prompt_token_ids, text_path
from dbpt.text_tower.general import token_embedding

VISION = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 3}
TOWERS = {
    "plain": (open_clip.CLIP, {}, "shared-prefix"),
    "quick-gelu": (open_clip.CLIP, {"quick_gelu": True}, "shared-prefix"),
    "layer-scale": (open_clip.CLIP, {"text": {"ls_init_value": 0.5}}, "shared-prefix"),
    "eos-pooling": (open_clip.CLIP, {"text": {"pool_type": "eos", "eos_id": 49407}}, "shared-prefix"),
    "projection-bias": (open_clip.CustomTextCLIP, {"text": {"proj_bias": True}}, "shared-prefix"),
    "custom-text": (open_clip.CustomTextCLIP, {}, "shared-prefix"),
    "custom-blocks": (open_clip.CustomTextCLIP, {"text": {"qk_norm": True, "scale_attn": True}}, "truncated"),
    "no-causal-mask": (open_clip.CustomTextCLIP, {"text": {"no_causal_mask": True}}, "general"),
    "last-pooling": (open_clip.CustomTextCLIP, {"text": {"pool_type": "last"}}, "general"),
    "cls-token": (open_clip.CustomTextCLIP, {"text": {"embed_cls": True}}, "general"),
}
WORDINGS = ["landbird", "waterbird", "dog", "an extraordinarily long name of a kind of seabird"]
INITIAL = "a drawing of the"
TOKENIZER = open_clip.get_tokenizer("ViT-B-32")


@cache
def build(name):
    torch.manual_seed(0)
    kind, options, _ = TOWERS[name]
    options = dict(options)
    text = TEXT | options.pop("text", {})
    return kind(embed_dim=16, vision_cfg=VISION, text_cfg=text, **options).eval().requires_grad_(False)


def context_of(model, tokenizer, words):
    ids = tokenizer([words])[0]
    n_ctx = int(ids.argmax()) - 1
    return token_embedding(model)(ids[1 : 1 + n_ctx]).detach()


@pytest.mark.parametrize("name", TOWERS)
def test_the_chosen_path_equals_encode_text(name):
    model, tokenizer = build(name), TOKENIZER
    context = context_of(model, tokenizer, INITIAL)
    layout = prompt_token_ids(tokenizer, WORDINGS, len(context))
    assert text_path(model) == TOWERS[name][2]
    expected = F.normalize(model.encode_text(tokenizer([f"{INITIAL} {w}." for w in WORDINGS])), dim=-1)
    torch.testing.assert_close(build_text_tower(model, layout)(context), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", TOWERS)
@pytest.mark.parametrize("wordings", [WORDINGS, WORDINGS[:1], ["sea gull", "sea eagle"]])
def test_values_and_gradients_equal_the_general_path(name, wordings):
    model, tokenizer = build(name), TOKENIZER
    layout = prompt_token_ids(tokenizer, wordings, 5)
    torch.manual_seed(1)
    start = torch.randn(5, TEXT["width"]) * 0.02
    weights = torch.randn(len(wordings), 16)
    results = []
    for path in (None, "general"):
        context = start.clone().requires_grad_()
        features = build_text_tower(model, layout, path)(context)
        (features * weights).sum().backward()
        results.append((features.detach(), context.grad))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-5)
    scale = results[1][1].abs().max()
    torch.testing.assert_close(results[0][1] / scale, results[1][1] / scale, rtol=0, atol=1e-5)


def test_the_shared_prefix_covers_start_token_context_and_common_words():
    model, tokenizer = build("plain"), TOKENIZER
    tower = build_text_tower(model, prompt_token_ids(tokenizer, ["sea gull", "sea eagle"], 5))
    assert tower.prefix_length == 1 + 5 + 1


def test_the_tower_trains_nothing_of_the_model():
    model, tokenizer = build("plain"), TOKENIZER
    tower = build_text_tower(model, prompt_token_ids(tokenizer, WORDINGS, 4))
    assert list(tower.parameters()) == []


def test_layout_counts_tokens_not_words():
    layout = prompt_token_ids(TOKENIZER, ["landbird", "dog"], 4)
    assert layout.start == 1
    assert layout.end.tolist() == [1 + 4 + 2 + 1 + 1, 1 + 4 + 1 + 1 + 1]  # SOS, context, name, ".", EOS


def test_a_wording_that_does_not_fit_is_named():
    with pytest.raises(InputError, match=r"'dog' has 4 tokens; with n_ctx = 74 .* 77 positions"):
        prompt_token_ids(TOKENIZER, ["dog"], 74)
    with pytest.raises(InputError, match="lower n_ctx"):
        prompt_token_ids(TOKENIZER, ["dog " * 80], 4)

"""The prompt head: what it computes, what is trained in it, what it refuses."""

import itertools

import numpy as np
import pytest
import torch
from prompt_reference import reference_features
from torch.nn import functional as F

from dbpt.clip.backbone import zero_shot_weights
from dbpt.clip.chunked_text_tower import ChunkedTower
from dbpt.clip.prompt_tokens import prompt_token_ids
from dbpt.clip.text_tower import GeneralTower
from dbpt.data.words import Words
from dbpt.heads import HeadStart, PromptHead
from dbpt.heads.class_and_group_prompts import class_prompts
from dbpt.heads.prompt import OFFSET_STEP
from dbpt.training import model_selection

WORDS = [f"{colour} {thing}" for colour in ("red", "blue", "green", "grey") for thing in ("dog", "cat", "house", "sea")]
CLASSES = {"disc": ("disc", "round thing"), "box": ("box",)}


def reference_weights(backbone, head: PromptHead) -> torch.Tensor:
    """Each wording through the model's own encode_text, then the normalised mean of each class's."""
    layout = prompt_token_ids(backbone.tokenizer, ["disc", "round thing", "box"], head.context.shape[0])
    disc, thing, box = GeneralTower(backbone.model, layout)(head.context)
    return F.normalize(torch.stack([(disc + thing) / 2, box]), dim=-1)


def test_weights_are_the_normalised_mean_over_each_classs_wordings(tiny_backbone):
    head = PromptHead(tiny_backbone, CLASSES, n_ctx=3, seed=0)
    torch.testing.assert_close(head.weights(), reference_weights(tiny_backbone, head), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("settings", "templates", "expected"),
    [
        ({}, ("A photo of a celebrity with {}.",), "A photo of a celebrity with"),
        ({}, ("a {} in the wild", " a sketch of a {} .", "a photo of a {}"), "a sketch of a"),
        ({}, ("{}", "a {} in the wild"), "a photo of a"),
        ({"ctx_init": "a drawing of"}, ("This is a {}.",), "a drawing of"),
        ({"n_ctx": 4}, ("This is a {}.",), None),
    ],
)
def test_the_context_starts_as_the_sentence_before_the_class_unless_something_else_is_asked_for(
    tiny_backbone, settings, templates, expected
):
    words = Words(CLASSES, {}, templates, ("{}",))
    start = HeadStart(tiny_backbone, words, class_prompts(words), torch.zeros(2, 16), seed=0)
    built = PromptHead.build(start, **{"ctx_init": None, "n_ctx": None} | settings)
    direct = PromptHead(tiny_backbone, CLASSES, seed=0, ctx_init=expected, n_ctx=settings.get("n_ctx"))
    assert torch.equal(built.context, direct.context)
    assert built.identity() == direct.identity()
    assert built.identity()[0] == expected


def test_logits_are_scaled_cosines_with_the_bias(tiny_backbone):
    head = PromptHead(tiny_backbone, CLASSES, n_ctx=3, seed=0)
    head.logit_bias = -2.5
    features = F.normalize(torch.randn(5, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    expected = tiny_backbone.logit_scale * features @ head.weights().T - 2.5
    torch.testing.assert_close(head(features), expected)
    assert head(features).shape == (5, 2)


def test_only_the_context_is_trained_and_stored(tiny_backbone):
    head = PromptHead(tiny_backbone, CLASSES, n_ctx=3, seed=0)
    assert [name for name, _ in head.named_parameters()] == ["context"]
    assert list(head.state_dict()) == ["context"]
    assert head.context.dtype == torch.float32
    head(torch.eye(16)).sum().backward()
    assert head.context.grad is not None
    assert head.context.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in tiny_backbone.model.parameters())


@pytest.mark.parametrize("class_specific_context", [False, True])
def test_groups_without_words_begin_as_their_class_and_have_trained_offsets(tiny_backbone, class_specific_context):
    settings = {"n_ctx": 3, "seed": 0, "class_specific_context": class_specific_context}
    alone, head = (
        PromptHead(tiny_backbone, CLASSES, **settings),
        PromptHead(tiny_backbone, CLASSES, copies=3, **settings),
    )
    assert torch.equal(head.context, alone.context)
    assert list(head.state_dict()) == ["context", "offsets"]
    of_classes = alone.weights().detach()
    torch.testing.assert_close(head.weights().detach(), of_classes[[0, 0, 0, 1, 1, 1]])
    torch.nn.init.normal_(head.offsets, generator=torch.Generator().manual_seed(0))
    moved = tiny_backbone.logit_scale * of_classes[1] + OFFSET_STEP * head.offsets[4].detach()
    torch.testing.assert_close(head.weights()[4], F.normalize(moved, dim=0))
    head(torch.eye(16)).square().sum().backward()
    assert (head.offsets.grad.norm(dim=1) > 0).all()
    assert head.context.grad.abs().sum() > 0


def test_the_context_is_drawn_from_the_seed_alone(tiny_backbone):
    def context(seed: int) -> torch.Tensor:
        torch.randn(3)  # the global generator does not matter
        return PromptHead(tiny_backbone, CLASSES, n_ctx=12, seed=seed).context.detach()

    assert torch.equal(context(5), context(5))
    assert not torch.equal(context(5), context(6))
    assert 0.01 < context(5).std() < 0.03  # N(0, 0.02^2)


def test_the_cost_is_positions_times_the_text_towers_weights(tiny_backbone):
    head = PromptHead(tiny_backbone, CLASSES, n_ctx=3, seed=0)
    width, embed_dim = 16, 16
    block = 12 * width * width + 13 * width
    assert head.multiply_adds == head.text_tower.num_positions * (block + 2 * width + width * embed_dim + 1)


def test_class_specific_contexts_stand_in_the_prompts_of_their_class(tiny_backbone):
    settings = {"n_ctx": 3, "class_position": "middle", "class_specific_context": True}
    head = PromptHead(tiny_backbone, CLASSES, seed=0, **settings)
    assert head.context.shape == (2, 3, 16)
    assert not torch.equal(head.context[0], head.context[1])
    wordings = ["disc", "round thing", "box"]
    model, tokenizer, context = tiny_backbone.model, tiny_backbone.tokenizer, head.context[[0, 0, 1]]
    features = reference_features(model, tokenizer, wordings, context, start=1, position="middle")
    expected = F.normalize(torch.stack([features[:2].mean(dim=0), features[2]]), dim=-1)
    torch.testing.assert_close(head.weights(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("class_specific_context", [False, True])
def test_initial_words_give_the_sentence_before_any_training(tiny_backbone, class_specific_context):
    words = "a photo of a landbird"  # five words, six tokens
    options = {"ctx_init": words, "class_specific_context": class_specific_context}
    head = PromptHead(tiny_backbone, CLASSES, n_ctx=16, seed=0, **options)
    assert head.context.shape[-2] == 6
    assert head.context.dtype == torch.float32
    texts = [f"{words} {name}." for name in ("disc", "round thing", "box")]
    expected = zero_shot_weights(tiny_backbone, texts, np.array([0, 0, 1]))
    np.testing.assert_allclose(head.weights().detach().numpy(), expected, atol=5e-6)


def test_the_memory_that_is_given_decides_whether_the_tower_is_in_chunks(tiny_backbone):
    classes = {name: (name,) for name in map(" ".join, itertools.product(WORDS, WORDS, WORDS[:4]))}
    heads = [PromptHead(tiny_backbone, classes, n_ctx=3, seed=0, text_memory_mb=memory) for memory in (1000, 1)]
    assert [isinstance(head.text_tower, ChunkedTower) for head in heads] == [False, True]


def test_the_context_is_float32_where_the_tower_is_held_in_bf16(tiny_backbone):
    held, whole = (
        PromptHead(tiny_backbone, CLASSES, n_ctx=3, seed=0, text_precision=name).weights()
        for name in ("bf16", "float32")
    )
    assert held.dtype == torch.float32 and not torch.equal(held, whole)
    torch.testing.assert_close(held, whole, rtol=0, atol=0.02)


def test_a_frozen_head_gives_the_same_bits(tiny_backbone):
    head = PromptHead(tiny_backbone, CLASSES, n_ctx=3, seed=0)
    features = F.normalize(torch.randn(50, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    with torch.no_grad():
        logits = head.frozen()(features)
    assert torch.equal(logits, head(features))
    assert not logits.requires_grad


def test_many_rows_take_one_pass_of_the_text_tower(tiny_backbone, monkeypatch):
    head, features = PromptHead(tiny_backbone, CLASSES, n_ctx=3, seed=0), torch.eye(16)
    runs: list[torch.Tensor] = []
    head.text_tower.register_forward_hook(lambda _, __, output: runs.append(output))
    monkeypatch.setattr(model_selection, "BLOCK_ROWS", 5)
    labels = torch.arange(16) % 2
    correct, p_true = model_selection.judge(head, features, labels)
    assert len(runs) == 1
    logits = head(features)
    assert torch.equal(correct, logits.argmax(dim=1) == labels)
    torch.testing.assert_close(p_true, logits.softmax(dim=1)[torch.arange(16), labels])

"""The prompt head: what it computes, what is trained in it, what it refuses."""

import pytest
import torch
from torch.nn import functional as F

from dbpt.errors import InputError
from dbpt.heads import PromptHead
from dbpt.text_tower import prompt_token_ids
from dbpt.text_tower.general import GeneralTower

CLASSES = {"disc": ("disc", "round thing"), "box": ("box",)}


def reference_weights(backbone, head: PromptHead) -> torch.Tensor:
    """Each wording through the model's own encode_text, then the normalised mean of each class's."""
    layout = prompt_token_ids(backbone.tokenizer, ["disc", "round thing", "box"], head.context.shape[0])
    disc, thing, box = GeneralTower(backbone.model, layout)(head.context)
    return F.normalize(torch.stack([(disc + thing) / 2, box]), dim=-1)


def test_weights_are_the_normalised_mean_over_each_classs_wordings(tiny_backbone):
    head = PromptHead(tiny_backbone, CLASSES, n_ctx=3, seed=0)
    torch.testing.assert_close(head.weights(), reference_weights(tiny_backbone, head), rtol=0, atol=1e-5)


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


def test_the_context_is_drawn_from_the_seed_alone(tiny_backbone):
    def context(seed: int) -> torch.Tensor:
        torch.randn(3)  # the global generator does not matter
        return PromptHead(tiny_backbone, CLASSES, n_ctx=12, seed=seed).context.detach()

    assert torch.equal(context(5), context(5))
    assert not torch.equal(context(5), context(6))
    assert 0.01 < context(5).std() < 0.03  # N(0, 0.02^2)


def test_a_prompt_that_does_not_fit_is_refused(tiny_backbone):
    with pytest.raises(InputError, match=r"'(disc|round thing)' has \d tokens; with n_ctx = 22"):
        PromptHead(tiny_backbone, CLASSES, n_ctx=22, seed=0)


def test_the_cost_is_positions_times_the_text_towers_weights(tiny_backbone):
    head = PromptHead(tiny_backbone, CLASSES, n_ctx=3, seed=0)
    width, embed_dim = 16, 16
    block = 12 * width * width + 13 * width
    assert head.multiply_adds == head.text_tower.num_positions * (block + 2 * width + width * embed_dim + 1)

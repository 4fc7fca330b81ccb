"""Gradients through a text tower held in float16: small ones must not be lost."""

import pytest
import torch
from torch import nn

from dbpt.text_tower import TextPath, build_text_tower, fit_text_tower, prompt_token_ids, text_path
from dbpt.text_tower.chunks import ChunkedTower
from dbpt.text_tower.gradient_scale import ScaledGradientTower
from dbpt.text_tower.precision import hold_text

NAMES = ["disc", "box", "a round thing"]
CONTEXT = torch.randn(3, 16, generator=torch.Generator().manual_seed(0)) * 0.02
WEIGHTS = torch.randn(3, 16, generator=torch.Generator().manual_seed(1))


def gradient(tower: nn.Module, scale: float) -> torch.Tensor:
    context = CONTEXT.clone().requires_grad_()
    (tower(context) * WEIGHTS * scale).sum().backward()
    return context.grad


@pytest.fixture
def layout(tiny_backbone):
    return prompt_token_ids(tiny_backbone.tokenizer, NAMES, 3)


@pytest.fixture(params=[1000.0, 1e-9], ids=["whole", "in chunks"])
def tower(request, tiny_backbone, layout):
    tower = fit_text_tower(tiny_backbone.model, layout, CONTEXT, precision="fp16", memory_mb=request.param)
    assert isinstance(tower, ChunkedTower if request.param < 1 else ScaledGradientTower)
    return tower


@pytest.mark.parametrize("exponent", [-90, -40, -10, 10, 40])
def test_a_gradient_of_another_size_has_the_same_bits(tower, exponent):
    """Nothing is lost on the way, however small or large it is."""
    assert torch.equal(gradient(tower, 2.0**exponent), gradient(tower, 1.0) * 2.0**exponent)


@pytest.mark.parametrize("path", ["shared-prefix", "general"])
def test_unscaled_a_small_gradient_is_lost_and_scaled_it_is_not(tiny_backbone, layout, path: TextPath):
    model, scale = tiny_backbone.model, 2.0**-27
    assert text_path(model) == "shared-prefix"
    expected = gradient(build_text_tower(model, layout), scale)
    plain = build_text_tower(hold_text(model, "fp16", mixed=path == "shared-prefix"), layout, path)

    def error(tower: nn.Module) -> float:
        return float((gradient(tower, scale) - expected).norm() / expected.norm())

    assert error(plain) > 0.3
    assert error(ScaledGradientTower(plain)) < 0.02


def test_no_gradient_stays_none_and_one_that_is_not_finite_stays_so(tower):
    assert torch.equal(gradient(tower, 0.0), torch.zeros_like(CONTEXT))
    assert not gradient(tower, float("inf")).isfinite().any()


def test_the_features_are_the_towers_own(tiny_backbone, layout):
    plain = build_text_tower(hold_text(tiny_backbone.model, "fp16", mixed=True), layout)
    scaled = ScaledGradientTower(plain)
    assert torch.equal(scaled(CONTEXT), plain(CONTEXT))
    assert scaled.num_positions == plain.num_positions


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_what_has_float32s_range_is_left_alone(tiny_backbone, layout, precision):
    tower = fit_text_tower(tiny_backbone.model, layout, CONTEXT, precision=precision, memory_mb=1000)
    assert not isinstance(tower, ScaledGradientTower)

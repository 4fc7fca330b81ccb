"""Packed attention is each prompt's own causal attention, and its written-out gradient is autograd's."""

import pytest
import torch
from test_text_tower import build, tokenizer_of
from torch.nn import functional as F

from dbpt.clip.shared_prefix import Packing, packed_attention
from dbpt.clip.text_path import build_text_tower
from dbpt.clip.text_tower import prompt_token_ids

HEADS, WIDTH = 2, 6
PACKINGS = {
    "buckets": Packing(4, ((3, 2), (1, 3), (2, 5))),
    "one prompt": Packing(4, ((1, 3),)),
    "nothing shared": Packing(0, ((2, 3), (1, 4))),
}


def inputs(packing):
    generator = torch.Generator().manual_seed(0)
    options = {"dtype": torch.float64, "generator": generator, "requires_grad": True}
    return [torch.randn(len(packing.hidden()), width, **options) for width in (WIDTH, 2 * WIDTH)]


def by_prompt(q, kv, packing):
    """The attention of every prompt alone, packed again."""

    def attend(rows):
        parts = [x[rows].unflatten(1, (HEADS, -1)).transpose(0, 1) for x in (q, *kv.chunk(2, dim=1))]
        return F.scaled_dot_product_attention(*parts, is_causal=True).transpose(0, 1).flatten(1)

    prefix, start, found = list(range(packing.prefix)), packing.prefix, []
    for count, length in packing.buckets:
        for _ in range(count):
            attended = attend(prefix + list(range(start, start + length)))
            found.append(attended[packing.prefix :])
            start += length
    return torch.cat([attend(prefix), *found] if prefix else found)


@pytest.mark.parametrize("only_ends", [False, True])
@pytest.mark.parametrize("name", PACKINGS)
def test_values_and_gradients_are_those_of_each_prompt_alone(name, only_ends):
    packing = PACKINGS[name]
    q, kv = inputs(packing)
    asking = packing.ends() if only_ends else slice(None)
    found = packed_attention(q[asking], kv, packing.hidden()[asking], packing, HEADS)
    expected = by_prompt(q, kv, packing)[asking]
    torch.testing.assert_close(found, expected)
    weights = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = [torch.autograd.grad((values * weights).sum(), (q, kv)) for values in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_ends_are_the_last_tokens():
    assert Packing(4, ((2, 1), (1, 3))).ends().tolist() == [4, 5, 8]


def test_first_and_last_block_run_only_the_rows_that_matter():
    """The first normalises the context's rows alone, the last transforms the rows of the ends alone."""
    model, seen = build("plain"), {}
    first, _, last = model.transformer.resblocks
    tower = build_text_tower(model, prompt_token_ids(tokenizer_of("plain"), ["sea gull", "dog", "cat"], 5))
    handles = [
        block.get_submodule(name).register_forward_hook(lambda _, inputs, __, key=key: seen.update({key: inputs[0]}))
        for key, block, name in (("in", first, "ln_1"), ("middle", first, "mlp"), ("out", last, "mlp"))
    ]
    tower(torch.randn(5, 32))
    for handle in handles:
        handle.remove()
    assert [len(seen[key]) for key in ("in", "middle", "out")] == [5, tower.num_positions, 3]

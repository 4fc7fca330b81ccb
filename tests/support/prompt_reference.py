"""Prompts without our code: the context's rows stand in the embedding table, under ids of their own."""

import torch
from torch.nn import functional as F

from dbpt.clip.text_tower import token_embedding


def reference_features(model, tokenizer, wordings, context, *, start, position="end"):
    """Unit features (P, D) by ``encode_text``, for ``context`` (n_ctx, d), or (P, n_ctx, d) of one's own each.

    ``start`` is the number of start tokens. The full stop must be a token of its own.
    """
    n_ctx = context.shape[-2]
    plain = tokenizer([f"{wording}." for wording in wordings])
    vectors = context.reshape(-1, context.shape[-1])
    taken = set(plain.flatten().tolist())
    free = torch.tensor([number for number in range(30, 20_000) if number not in taken][: len(vectors)])
    ids = [
        with_context(row, free[(p * n_ctx if context.ndim == 3 else 0) :][:n_ctx].tolist(), tokenizer, start, position)
        for p, row in enumerate(plain.tolist())
    ]
    embedding = token_embedding(model)
    used = torch.tensor(ids)
    rows = embedding(used).detach()  # not the table: some towers scale its rows
    for number, vector in zip(free, vectors, strict=True):
        rows = torch.where((used == number).unsqueeze(-1), vector, rows)
    embedding.forward = lambda tokens: rows
    try:
        return F.normalize(model.encode_text(used), dim=-1)
    finally:
        del embedding.forward


def with_context(row: list[int], context: list[int], tokenizer, start: int, position: str) -> list[int]:
    """A tokenised ``name.`` with the context's ids in it, cut to its length."""
    stop = row.index(int(tokenizer(["."])[0, start]), start)
    name = row[start:stop]
    half = len(context) // 2
    orders = {"end": context + name, "middle": context[:half] + name + context[half:], "front": name + context}
    return (row[:start] + orders[position] + row[stop:])[: len(row)]


def assert_same_tower(tower, features_of, context, weights, *, rtol=2e-5):
    """Values and gradients of a text tower are those of ``features_of``; the latter relative to the largest."""
    expected, gradient = value_and_gradient(features_of, context, weights)
    found = value_and_gradient(tower, context, weights)
    scale = gradient.abs().max()
    assert scale > 1e-6
    torch.testing.assert_close(found[0], expected, rtol=0, atol=5e-6)
    torch.testing.assert_close(found[1] / scale, gradient / scale, rtol=0, atol=rtol)


def value_and_gradient(features_of, context, weights):
    """Features, and the gradient that the sum of ``weights`` times them has in the context."""
    context = context.clone().requires_grad_()
    features = features_of(context)
    (features * weights).sum().backward()
    return features.detach(), context.grad

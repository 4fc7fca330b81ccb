"""The CoOp head: context vectors among the tokens of every class wording (Zhou et al., 2022, arXiv 2109.01134)."""

import hashlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dbpt.clip import Backbone, text_tower
from dbpt.clip.chunked_text_tower import fit_text_tower
from dbpt.clip.prompt_tokens import ClassPosition, PromptLayout, context_token_ids, prompt_token_ids
from dbpt.clip.spec import Tokenizer
from dbpt.data.words import Vocabulary
from dbpt.errors import InputError
from dbpt.heads.base import Head, HeadStart
from dbpt.heads.class_and_group_prompts import Prompts

OFFSET_STEP = 3.0
"""Lets AdamW move an offset about as fast as a weight of the head linear, at the default learning rates of both."""


class PromptHead(Head):
    """Context vectors (n_ctx, d), float32, the only parameters, as in CoOp (Zhou et al., 2022). Both towers are frozen.

    The weight of a class, or of a group of class and attribute, is the normalised mean of its wordings' text features,
    as in the zero-shot ensemble, with its context in each. Groups without words share the prompt of their class, and
    each has a trained offset (D,) from it, which starts at 0.

    Args:
        backbone: the frozen CLIP.
        names: the K classes or groups with their wordings, or the classes of K groups without words.
        n_ctx, seed: how many context vectors start as N(0, 0.02^2), drawn from the seed.
        class_specific_context: a context for each class, (C, n_ctx, d): CoOp's CSC.
        contexts: the number of the context of each name if they are specific; by default each has its own.
        copies: the number of groups of each name, if no words tell them apart.
        class_position: see `prompt_token_ids`.
        ctx_init: initial words: the context starts from their token embeddings. Instead of ``n_ctx``.
        context: float32 ([C,] n_ctx, d), initial context vectors instead of random ones; give ``n_ctx`` too.
        text_precision: of the text tower's weights, float32 or bf16.
        text_memory_mb: limit in MB for the text tower's activations in a step; more classes go through it in chunks.

    Raises:
        InputError: for a prompt that is too long for the text tower, and for words without a token.
    """

    settings = ("n_ctx", "ctx_init", "class_specific_context", "class_position", "text_precision", "text_memory_mb")
    default_lr: ClassVar = {"adamw": 0.003, "sgd": 0.1}
    saves_parameters = True
    reads_context = True

    def __init__(
        self,
        backbone: Backbone,
        names: Vocabulary,
        *,
        n_ctx: int | None = None,
        seed: int,
        class_specific_context: bool = False,
        contexts: Sequence[int] | None = None,
        copies: int = 1,
        class_position: ClassPosition = "end",
        ctx_init: str | None = None,
        context: NDArray[np.float32] | None = None,
        text_precision: str = "float32",
        text_memory_mb: int = 1000,
    ) -> None:
        super().__init__()
        layout = prompt_layout(
            backbone.tokenizer, names, n_ctx, ctx_init, class_position, class_specific_context, contexts
        )
        number = (max(contexts or range(len(names))) + 1,) if class_specific_context else ()
        if context is None:
            first = _first_context(backbone, (*number, layout.n_ctx), seed, ctx_init)
        else:
            first = torch.from_numpy(context.copy())
        self.context = torch.nn.Parameter(first.to(backbone.device))
        self.copies, self.offsets = copies, None
        if copies > 1:
            offsets_KD = torch.zeros(len(names) * copies, backbone.embed_dim, device=backbone.device)
            self.offsets = torch.nn.Parameter(offsets_KD)
        # For `identity`: a saved context has no words, and its parameters move during training.
        words = ctx_init if context is None else hashlib.sha256(context.tobytes()).hexdigest()
        self._start = (words, list(names.items()))
        self.text_tower = fit_text_tower(
            backbone.model, layout, self.context, precision=text_precision, memory_mb=text_memory_mb
        )
        self.multiply_adds = self.text_tower.num_positions * text_tower.text_weights(backbone.model)
        self.logit_scale = backbone.logit_scale
        self.logit_bias = backbone.logit_bias or 0.0
        member_KP = F.one_hot(torch.tensor(_owners(names), device=backbone.device), len(names)).T.float()
        # Not persistent: checkpoints hold only what is trained.
        self.register_buffer("averaging_KP", member_KP / member_KP.sum(dim=1, keepdim=True), persistent=False)
        self.averaging_KP: torch.Tensor
        self.register_buffer("zero_shot", None, persistent=False)
        self.zero_shot: torch.Tensor | None
        """The weights (K, D) of the zero-shot classifier; None unless `build` has them."""
        self.last_weights: torch.Tensor | None = None
        """The weights (K, D) that were computed last, with their graph."""

    @classmethod
    def check(cls, backbone: Backbone, prompts: Prompts, **settings: Any) -> None:
        """Refuse a saved ``context`` that doesn't fit, a prompt too long for the text tower, and a bad ``ctx_init``.

        The ``context`` is that of ``start_from``, None without one.
        """
        if "{" in (settings.get("ctx_init") or ""):
            problem = "has a brace; write the words before the name, such as 'a photo of a'"
            raise InputError(f"--ctx-init {settings['ctx_init']!r}: {problem}")
        context, start_from = settings.pop("context", None), settings.pop("start_from", None)
        if context is not None:
            _check_context(context, f"--start-from {start_from}", backbone, prompts, settings["class_specific_context"])
            settings["n_ctx"] = context.shape[-2]
        layout = {name: value for name, value in settings.items() if not name.startswith("text_")}
        prompt_layout(backbone.tokenizer, prompts.wordings, **_with_start(prompts, layout))

    @classmethod
    def build(cls, start: HeadStart, **settings: Any) -> "PromptHead":
        """Build the context: a saved one, or by default the words before the name in the data's sentences."""
        if start.context is not None:
            settings |= {"context": start.context, "n_ctx": start.context.shape[-2]}
        settings = _with_start(start.prompts, settings) | {"copies": start.prompts.copies}
        head = cls(start.backbone, start.prompts.wordings, seed=start.seed, contexts=start.prompts.contexts, **settings)
        head.zero_shot = start.weights
        return head

    def identity(self) -> object:
        """Return the first words or context, the classes, and the token ids of the prompts, for the tokenizer."""
        layout = self.text_tower.layout
        return (*self._start, layout.ids.tolist(), layout.context_rows.tolist())

    def weights(self) -> torch.Tensor:
        """Return weights (K, D), L2-normalised, differentiable in the context and the offsets."""
        features_PD = self.text_tower(self.context)
        weights = F.normalize(self.averaging_KP @ features_PD, dim=-1)
        if self.offsets is None:
            return weights
        moved = weights.repeat_interleave(self.copies, dim=0) + OFFSET_STEP / self.logit_scale * self.offsets
        return F.normalize(moved, dim=-1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits, exp(logit_scale) * cosine + bias.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, K) float32.
        """
        return self.logits_with(features, *self.computed_once())

    def computed_once(self) -> tuple[torch.Tensor, ...]:
        """Return the weights (K, D)."""
        self.last_weights = self.weights()
        return (self.last_weights,)

    def logits_with(self, features: torch.Tensor, *computed: torch.Tensor) -> torch.Tensor:
        """Return the logits by the weights (K, D)."""
        (weights,) = computed
        return self.logit_scale * features @ weights.T + self.logit_bias

    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """Return the weights that the context gives."""
        return {
            "weights": self.weights(),
            "logit_scale": torch.tensor([self.logit_scale]),
            "logit_bias": torch.tensor([self.logit_bias]),
        }


def _check_context(
    context: NDArray[np.float32], where: str, backbone: Backbone, prompts: Prompts, class_specific: bool
) -> None:
    """Refuse a context of another width than the text tower's, or for another number of classes."""
    width = text_tower.token_embedding(backbone.model).embedding_dim
    if context.shape[-1] != width:
        raise InputError(
            f"{where}: its context has width {context.shape[-1]}, the text tower of {backbone.spec['model']} has "
            f"{width}; name a prompt that was trained with this model"
        )
    number, is_specific = max(prompts.contexts) + 1, context.ndim == 3
    if class_specific and not is_specific:
        raise InputError(f"{where}: all classes share its context; drop --class-specific-context")
    if is_specific and len(context) != number:
        contexts = f"has {len(context)} contexts, the data have {number} classes"
        raise InputError(f"{where}: {contexts}; name a prompt of as many, or a shared one")
    if is_specific and not class_specific:
        raise InputError(f"{where}: has a context for each class; add --class-specific-context")


def _with_start(prompts: Prompts, settings: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with the words that the context starts as, where they name neither words nor tokens."""
    if settings["ctx_init"] is None and settings["n_ctx"] is None:
        return settings | {"ctx_init": prompts.start}
    return settings


def prompt_layout(
    tokenizer: Tokenizer,
    names: Vocabulary,
    n_ctx: int | None,
    ctx_init: str | None,
    class_position: ClassPosition,
    class_specific_context: bool,
    contexts: Sequence[int] | None = None,
) -> PromptLayout:
    """Lay out the prompts of all wordings, name by name. Raises `InputError` as `PromptHead` does.

    Args:
        tokenizer: the tokenizer of the backbone.
        names: the classes or groups with their wordings.
        n_ctx: the number of context vectors; None takes as many as ``ctx_init`` has tokens.
        ctx_init: the initial words of the context, which replace ``n_ctx``.
        class_position: see `prompt_token_ids`.
        class_specific_context: whether each name has a context of its own.
        contexts: the number of the context of each name, then; by default each has its own.
    """
    if ctx_init is not None:
        n_ctx = len(context_token_ids(tokenizer, ctx_init))
    assert n_ctx is not None
    wordings = [wording for of_name in names.values() for wording in of_name]
    own = contexts or range(len(names))
    owners = [own[name] for name in _owners(names)] if class_specific_context else None
    return prompt_token_ids(tokenizer, wordings, n_ctx, class_position=class_position, owners=owners)


def _first_context(backbone: Backbone, shape: tuple[int, ...], seed: int, ctx_init: str | None) -> torch.Tensor:
    """Return the initial context, (*shape, d) float32."""
    embedding = text_tower.token_embedding(backbone.model)
    if ctx_init is None:
        generator = torch.Generator().manual_seed(seed)
        return torch.empty(*shape, embedding.embedding_dim).normal_(std=0.02, generator=generator)
    with torch.no_grad():  # the output of the embedding, not its rows: some towers scale them
        words: torch.Tensor = embedding(context_token_ids(backbone.tokenizer, ctx_init).to(backbone.device))
    return words.float().expand(*shape, -1).contiguous()


def _owners(names: Vocabulary) -> list[int]:
    """Return the number of the class or group of each wording."""
    return [index for index, wordings in enumerate(names.values()) for _ in wordings]

"""The interface of a head, for `dbpt.register_head`, and two heads.

A head turns features (N, D) into logits (N, K). A linear layer, and CLIP-Adapter (Gao et al., 2021), need no text
tower.
"""

import hashlib
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.data.words import Words
from dbpt.heads.class_and_group_prompts import Prompts
from dbpt.heads.tensors import Array, ByTensors, Tensors
from dbpt.registry import Registered


@dataclass(frozen=True)
class HeadStart:
    """The inputs for building a head with K outputs: the C classes, or the G groups with ``--prompts group``.

    Attributes:
        backbone: the frozen CLIP.
        words: the classes with their wordings and sentences.
        prompts: the K classes or groups as prompts.
        weights: (K, D) float32, the text features of their sentences, of length 1.
        seed: seed of the first parameters.
        context: (n_ctx, d) or (C, n_ctx, d) float32, the context of a saved prompt to start as; None for a new one.
    """

    backbone: Backbone
    words: Words
    prompts: Prompts
    weights: torch.Tensor
    seed: int
    context: NDArray[np.float32] | None = None


class Head(torch.nn.Module, ByTensors, Registered):
    """Maps features (N, D), L2-normalised, to logits (N, K). Its parameters are trained.

    The K outputs are the C classes, or the groups y * A + a, whose probabilities dbpt sums for each class. A head
    doesn't need to know which.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the `FitConfig` settings that `build` takes as keywords."""
    default_lr: ClassVar[Mapping[str, float]] = {"adamw": 0.01, "sgd": 0.1}
    """The peak learning rate for each optimizer, unless the user gives one; those left out are these."""
    saves_parameters: ClassVar[bool] = False
    """True if the run folder gets ``NAME.safetensors`` with the trained parameters beside the classifier."""
    reads_context: ClassVar[bool] = False
    """True if it can start at the context of a saved prompt, ``--start-from``: `HeadStart.context`."""
    tells_alike_apart: ClassVar[bool] = True
    """False if outputs that begin alike stay so, since their weights are not trained."""
    multiply_adds: int = 0
    """The rough cost of a forward pass of a batch; a small one is run on one thread."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.default_lr = {**Head.default_lr, **cls.default_lr}

    @classmethod
    def check(cls, backbone: Backbone, prompts: Prompts, **settings: Any) -> None:
        """Refuse settings that don't fit the prompts, before images are embedded.

        Args:
            backbone: the frozen CLIP.
            prompts: the classes or groups as prompts.
            settings: the values of the class's ``settings``, by name; with them ``start_from``, and the ``context``
                that it names, as in `HeadStart`.

        Raises:
            InputError: if the head can't be built with them.
        """

    @classmethod
    @abstractmethod
    def build(cls, start: HeadStart, **settings: Any) -> "Head":
        """Build a new head on the device of the backbone.

        Args:
            start: the backbone, words, prompts, first weights and seed.
            settings: the values of the class's ``settings``, by name.

        Returns:
            The head, ready to train.
        """

    def computed_once(self) -> tuple[torch.Tensor, ...]:
        """Return, with their graph, tensors that are computed once for all rows of a step; none by default.

        A large batch is divided into blocks; what they share, such as the features of prompts, need not be computed for
        each. All parameters must then act through these tensors, which `logits_with` gets.
        """
        return ()

    def logits_with(self, features: torch.Tensor, *computed: torch.Tensor) -> torch.Tensor:
        """Return the logits from the `computed_once` tensors.

        Args:
            features: (N, D) float32, rows of length 1.
            computed: what `computed_once` returned, or copies.

        Returns:
            (N, K) float32.
        """
        return self(features)  # type: ignore[no-any-return]

    @torch.no_grad()
    def frozen(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the present head for passes without gradient."""
        computed = self.computed_once()
        return lambda features: self.logits_with(features, *computed)

    def identity(self) -> object:
        """Return everything that determines the new head, as JSON values; checkpoints of another head are refused."""
        return [hashlib.sha256(value.cpu().numpy().tobytes()).hexdigest() for value in self.state_dict().values()]

    @abstractmethod
    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """Return the trained classifier: ``weights`` (K, D), ``logit_scale`` (1,), and ``logit_bias`` (1,) or (K,).

        All are float32. What else `logits` reads has names of the form ``NAME.part``, with the head's name.
        """


REDUCTION = 4
RATIO = 0.2


class LinearHead(Head):
    """logits = features @ weights.T + bias, with ``weights`` (K, D) and ``bias`` (K,), float32, trained.

    It starts as the zero-shot classifier: from ``first_weights`` times ``logit_scale``.

    Args:
        first_weights: (K, D), the weights of the zero-shot classifier, or those of the groups, of length 1.
        logit_scale: the logit scale of the backbone, already exponentiated.
    """

    def __init__(self, first_weights: torch.Tensor, *, logit_scale: float) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(logit_scale * first_weights.detach().float())
        self.bias = torch.nn.Parameter(torch.zeros(len(first_weights), device=first_weights.device))
        self.multiply_adds = 128 * first_weights.numel()  # of a batch of 128 rows

    @classmethod
    def build(cls, start: HeadStart, **settings: Any) -> "LinearHead":
        """Build the zero-shot classifier."""
        return cls(start.weights, logit_scale=start.backbone.logit_scale)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, K) float32.
        """
        return features @ self.weights.T + self.bias

    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """Return the layer; its scale is in the weights."""
        return {"weights": self.weights, "logit_scale": torch.ones(1), "logit_bias": self.bias}


class AdapterHead(Head):
    """logits = logit_scale * cosine(ratio * relu(relu(x @ down.T) @ up.T) + (1 - ratio) * x, weights) + logit_bias.

    CLIP-Adapter (arXiv 2110.04544), with bottleneck D/4, ratio 0.2 and both rectified layers as in the authors' code.
    The parameters are ``down`` (D/4, D) and ``up`` (D, D/4), float32. The paper's features x don't have length 1, which
    makes no difference: layers without biases preserve the scale, and the cosine removes it.

    Args:
        weights: (K, D), the weights of the zero-shot classifier, or those of the groups, which are not trained.
        logit_scale, logit_bias: those of the backbone; the scale is already exponentiated.
        seed: seed of the parameters, which are drawn as those of torch's linear layers.
    """

    tells_alike_apart = False

    def __init__(self, weights: torch.Tensor, *, logit_scale: float, logit_bias: float, seed: int) -> None:
        super().__init__()
        num_classes, width = weights.shape
        hidden = max(1, width // REDUCTION)
        generator = torch.Generator().manual_seed(seed)
        self.down = torch.nn.Parameter(_uniform(hidden, width, generator).to(weights.device))
        self.up = torch.nn.Parameter(_uniform(width, hidden, generator).to(weights.device))
        self.register_buffer("weights", weights.detach().float().clone())
        self.weights: torch.Tensor
        self.logit_scale, self.logit_bias = logit_scale, logit_bias
        self.multiply_adds = 128 * width * (2 * hidden + num_classes)  # of a batch of 128 rows

    @classmethod
    def build(cls, start: HeadStart, **settings: Any) -> "AdapterHead":
        """Build the layers, drawn from the seed."""
        scale, bias = start.backbone.logit_scale, start.backbone.logit_bias or 0.0
        return cls(start.weights, logit_scale=scale, logit_bias=bias, seed=start.seed)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the logits.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, K) float32.
        """
        return self.logit_scale * self.adapted(features) @ self.weights.T + self.logit_bias

    def adapted(self, features: torch.Tensor) -> torch.Tensor:
        """Return the features that are compared with the class weights.

        Args:
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, D) float32, rows of length 1.
        """
        moved = F.relu(F.relu(features @ self.down.T) @ self.up.T)
        return F.normalize(RATIO * moved + (1 - RATIO) * features, dim=-1)

    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """Return the layers and the class weights."""
        return {
            "weights": self.weights,
            "logit_scale": torch.tensor([self.logit_scale]),
            "logit_bias": torch.tensor([self.logit_bias]),
            "adapter.down": self.down,
            "adapter.up": self.up,
            "adapter.ratio": torch.tensor([RATIO]),
        }

    @staticmethod
    def tensor_shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the two layers and the ratio."""
        hidden, width = len(tensors["adapter.down"]), tensors["weights"].shape[1]
        return {"adapter.down": (hidden, width), "adapter.up": (width, hidden), "adapter.ratio": (1,)}

    @staticmethod
    def logits(tensors: Tensors, features: Array) -> Array:
        """Return the logits (N, K) of features (N, D) that the layers have moved."""
        down, up, ratio = (tensors[f"adapter.{name}"] for name in ("down", "up", "ratio"))
        moved = ((features @ down.T).clip(0) @ up.T).clip(0)
        mixed = ratio * moved + (1 - ratio) * features
        # By hand, because F.normalize takes no NumPy array; 1e-12 is its least length.
        lengths = (mixed**2).sum(axis=1, keepdims=True) ** 0.5
        adapted: Array = mixed / lengths.clip(1e-12)
        return Head.logits(tensors, adapted)


def _uniform(rows: int, columns: int, generator: torch.Generator) -> torch.Tensor:
    bound = 1 / math.sqrt(columns)
    return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)

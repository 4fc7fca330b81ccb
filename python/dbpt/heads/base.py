"""The interface of a head, for `dbpt.register_head`, and the prompts of classes or groups that it tells apart.

A head turns features (N, D) into logits (N, K).
"""

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from dbpt.clip import Backbone
from dbpt.data.words import GROUP_PLACEHOLDER, SENTENCE_START, Vocabulary, Words
from dbpt.groups import group_name
from dbpt.registry import Registered

Tensors = Mapping[str, Any]
"""NumPy arrays or torch tensors, float32, by name."""
Array = TypeVar("Array", NDArray[np.float32], torch.Tensor)


@dataclass(frozen=True)
class Prompts:
    """The prompts of the classes or groups that a head tells apart.

    Attributes:
        wordings: the name of each, with the words between context and full stop, in one wording or several.
        start: the words whose embeddings the context has at first, by default.
        contexts: the number of the context of each, if contexts are specific.
        copies: how many groups in a row begin with each prompt, since no words tell the groups of a class apart.
    """

    wordings: Vocabulary
    start: str
    contexts: tuple[int, ...]
    copies: int = 1


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


class Head(torch.nn.Module, Registered):
    """Maps features (N, D), L2-normalised, to logits (N, K). Its parameters are trained.

    The K outputs are the C classes, or the groups y * A + a, whose probabilities dbpt sums for each class. A head
    doesn't need to know which.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the `FitConfig` settings that `build` takes as keywords."""
    default_lr: ClassVar[Mapping[str, float]] = {"adamw": 0.01, "sgd": 0.1}
    """The peak learning rate for each optimizer, unless the user gives one."""
    saves_parameters: ClassVar[bool] = False
    """True if the run folder gets ``NAME.safetensors`` with the trained parameters beside the classifier."""
    reads_context: ClassVar[bool] = False
    """True if it can start at the context of a saved prompt, ``--start-from``: `HeadStart.context`."""
    tells_alike_apart: ClassVar[bool] = True
    """False if outputs that begin alike stay so, since their weights are not trained."""
    multiply_adds: int = 0
    """The rough cost of a forward pass of a batch; a small one is run on one thread."""

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

    def frozen(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the present head for passes without gradient; it may compute once what doesn't depend on features."""
        return self

    def identity(self) -> object:
        """Return everything that determines the new head, as JSON values; checkpoints of another head are refused."""
        return [hashlib.sha256(value.cpu().numpy().tobytes()).hexdigest() for value in self.state_dict().values()]

    @abstractmethod
    def classifier_tensors(self) -> dict[str, torch.Tensor]:
        """Return the trained classifier: ``weights`` (K, D), ``logit_scale`` (1,), and ``logit_bias`` (1,) or (K,).

        All are float32. What else `logits` reads has names of the form ``NAME.part``, with the head's name.
        """

    @staticmethod
    def tensor_shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the tensors that this head adds to the three of every classifier.

        Args:
            tensors: the `classifier_tensors`, float32, by name.

        Returns:
            Shapes by name, ``NAME.part``.
        """
        return {}

    @staticmethod
    def logits(tensors: Tensors, features: Array) -> Array:
        """Return the logits by the `classifier_tensors`, for NumPy arrays and for torch tensors.

        Finished classifiers predict by this, so it must agree with `forward`. It is called with arrays to predict, and
        with tensors in PyTorch and ONNX. So write it with operators and methods that both have: ``@``, ``.T``,
        ``.clip(0)``, ``** 2``, ``.sum(axis=1, keepdims=True)``; no function of NumPy or torch, and no ``float(...)``.

        Args:
            tensors: the `classifier_tensors`, float32, by name.
            features: (N, D) float32, rows of length 1.

        Returns:
            (N, K) float32, an array or a tensor as ``features`` is.
        """
        logits: Array = tensors["logit_scale"] * (features @ tensors["weights"].T) + tensors["logit_bias"]
        return logits

    @staticmethod
    def class_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logarithm of the sum over the groups of each class, up to a constant of the row.

        Args:
            logits: (N, C, A) float32, of the groups.

        Returns:
            (N, C) float32.
        """
        return np.asarray(np.logaddexp.reduce(logits, axis=2))


def class_prompts(words: Words, copies: int = 1) -> Prompts:
    """Return a prompt for each class. If its groups have no words, ``copies`` of them begin with the same prompt."""
    return Prompts(words.classes, words.class_sentence_start, tuple(range(len(words.classes))), copies)


def group_prompts(words: Words) -> Prompts:
    """Return a prompt for each group y * A + a, by the first group template."""
    template = group_templates(words)[0]
    before = GROUP_PLACEHOLDER.split(template)[0]
    body = template[len(before) :].rstrip(" .!?")
    names = [group_name(label, attribute) for label in words.classes for attribute in words.attributes]
    wordings = [tuple(_filled(body, *pair) for pair in pairs) for pairs in _wordings(words)]
    contexts = tuple(g // len(words.attributes) for g in range(len(names)))
    return Prompts(dict(zip(names, wordings, strict=True)), before.strip() or SENTENCE_START, contexts)


def group_texts(words: Words) -> tuple[list[str], NDArray[np.int64]]:
    """Return every sentence of class and attribute, and the group y * A + a of each, (P,) int64.

    They are the group templates in all wordings of both. The wording of several factors is "VALUE, VALUE".
    """
    templates, texts, owners = group_templates(words), list[str](), list[int]()
    for group, pairs in enumerate(_wordings(words)):
        texts += [_filled(template, *pair) for pair in pairs for template in templates]
        owners += [group] * len(pairs) * len(templates)
    return texts, np.array(owners, dtype=np.int64)


GENERIC_SENTENCES = (
    "a {class}, {attribute}.",
    "a {class} in a {attribute}.",
    "a {class} in {attribute}.",
    "a {class} with {attribute}.",
    "a {attribute} of a {class}.",
)
"""No single sentence fits a style, a place, a colour and something worn; the mean of several hardly depends on it."""


def group_templates(words: Words) -> tuple[str, ...]:
    """Return the sentences of groups: those that are given, or those of the classes with "CLASS, ATTRIBUTE" and more.

    The prompt starts at the first; everything else takes the mean of all.
    """
    of_classes = (template.replace("{}", "{class}, {attribute}") for template in words.templates)
    return words.group_templates or (*of_classes, *GENERIC_SENTENCES)


def _wordings(words: Words) -> Iterator[list[tuple[str, str]]]:
    """Yield the pairs of wordings of class and attribute of each group y * A + a."""
    for of_class, *of_values in product(
        words.classes.values(), *(suspect.values.values() for suspect in words.suspects)
    ):
        yield [(label, ", ".join(values)) for label, *values in product(of_class, *of_values)]


def _filled(template: str, label: str, attribute: str) -> str:
    """Return the sentence, or the part of it, with the words in their places."""
    words = {"class": label, "attribute": attribute}
    return GROUP_PLACEHOLDER.sub(lambda placeholder: words[placeholder[1]], template)

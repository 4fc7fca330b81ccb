"""The outputs of a head: the classes or groups that it tells apart, as prompts and as sentences. Needs no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from dbpt.data.words import GROUP_PLACEHOLDER, SENTENCE_START, Vocabulary, Words
from dbpt.groups import group_name


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

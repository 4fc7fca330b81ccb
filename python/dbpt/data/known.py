"""The data sets that have layouts, words and published group counts of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dbpt.data import celeba, metashift, waterbirds
from dbpt.data.checks import published_notes
from dbpt.data.choices import Choices, listed
from dbpt.data.dataset import Dataset
from dbpt.data.folders import absolute
from dbpt.data.rows import shortened
from dbpt.data.words import Vocabulary, Words
from dbpt.errors import InputError


@dataclass(frozen=True)
class Known:
    """A reader, the words of the usual form and task, and what the data set's folder holds."""

    read: Callable[..., Dataset]
    words: Words
    holds: str


KNOWN = {
    "waterbirds": Known(waterbirds.read_waterbirds, waterbirds.WORDS, f"{waterbirds.FOLDERS[0]}/metadata.csv"),
    "celeba": Known(celeba.read_celeba, celeba.WORDS, "list_attr_celeba.txt and img_align_celeba/"),
    "metashift": Known(metashift.read_metashift, metashift.WORDS, f"{metashift.FOLDER}/"),
}


def read_known(
    name: str,
    root: str | Path | None,
    choices: Choices,
    celeba_target: str | None,
    celeba_attributes: Sequence[str] | None,
) -> Dataset:
    """Read a known data set, with the user's words instead of its own where they are given, by index.

    Raises:
        InputError: as the reader; no root; another number of names than the data set has.
    """
    known = KNOWN[name]
    if root is None:
        raise InputError(f"data set {name!r} needs root, the folder that holds {known.holds}")
    task: dict[str, str | tuple[str, ...]] = {} if celeba_target is None else {"target": celeba_target}
    if celeba_attributes is not None:
        task["attributes"] = listed(celeba_attributes)
    dataset = known.read(absolute(root), **task)
    own = dataset.words
    words = Words(
        _same_number("classes", choices.classes, own.classes),
        _same_number("attributes", choices.attributes, own.attributes),
        own.templates if choices.templates is None else choices.templates,
        own.attribute_templates if choices.attribute_templates is None else choices.attribute_templates,
    )
    return replace(dataset, words=words, notes=(*dataset.notes, *published_notes(dataset)))


def _same_number(argument: str, given: Vocabulary | None, own: Vocabulary) -> Vocabulary:
    if given is not None and len(given) != len(own):
        raise InputError(
            f"{argument}: the data set has {len(own)} ({', '.join(own)}, in this order), "
            f"found {len(given)} ({shortened(given)})"
        )
    return given or own

"""CelebA (Liu et al., 2015): one of its forty attributes as the class, others as the spurious attribute.

The default is the task that the literature reports: y is Blond_Hair (0 dark, 1 blond), a is Male (0 female, 1 male).
"""

import re
from collections.abc import Sequence
from functools import reduce
from pathlib import Path

import numpy as np

from dbpt.data.celeba_tables import ATTRIBUTES, IMAGE, MERGED, PRESENT, SPLIT, SPURIOUS, TARGET, VALUES, celeba_columns
from dbpt.data.columns import DataRequest
from dbpt.data.dataset import Dataset, GroupCounts
from dbpt.data.paths import NOT_PUBLISHED, find_root, first_of, relative_path
from dbpt.data.reader import DatasetReader
from dbpt.data.words import COMMA_HINT, Factor, Vocabulary, Words
from dbpt.errors import InputError, nearest

# For the default task, with the sentences of its published code.
WORDS = Words(
    classes={"dark hair": ("dark hair",), "blond hair": ("blond hair",)},
    attributes={"female": ("female celebrity",), "male": ("male celebrity",)},
    templates=("A photo of a celebrity with {}.",),
    attribute_templates=("A photo of a {}.",),
)
# For each attribute, a clause for an image without it and one for an image with it, in the official order.
CLAUSES = {
    "5_o_Clock_Shadow": ("without stubble", "with stubble"),
    "Arched_Eyebrows": ("with straight eyebrows", "with arched eyebrows"),
    "Attractive": ("who is not attractive", "who is attractive"),
    "Bags_Under_Eyes": ("without bags under the eyes", "with bags under the eyes"),
    "Bald": ("with hair", "who is bald"),
    "Bangs": ("without bangs", "with bangs"),
    "Big_Lips": ("with thin lips", "with big lips"),
    "Big_Nose": ("with a small nose", "with a big nose"),
    "Black_Hair": ("without black hair", "with black hair"),
    "Blond_Hair": ("with dark hair", "with blond hair"),
    "Blurry": ("in a sharp picture", "in a blurry picture"),
    "Brown_Hair": ("without brown hair", "with brown hair"),
    "Bushy_Eyebrows": ("with thin eyebrows", "with bushy eyebrows"),
    "Chubby": ("who is slim", "who is chubby"),
    "Double_Chin": ("without a double chin", "with a double chin"),
    "Eyeglasses": ("without eyeglasses", "with eyeglasses"),
    "Goatee": ("without a goatee", "with a goatee"),
    "Gray_Hair": ("without gray hair", "with gray hair"),
    "Heavy_Makeup": ("without makeup", "with heavy makeup"),
    "High_Cheekbones": ("with low cheekbones", "with high cheekbones"),
    "Male": ("who is female", "who is male"),
    "Mouth_Slightly_Open": ("with a closed mouth", "with a slightly open mouth"),
    "Mustache": ("without a mustache", "with a mustache"),
    "Narrow_Eyes": ("with wide eyes", "with narrow eyes"),
    "No_Beard": ("with a beard", "without a beard"),
    "Oval_Face": ("with an angular face", "with an oval face"),
    "Pale_Skin": ("with tanned skin", "with pale skin"),
    "Pointy_Nose": ("with a round nose", "with a pointy nose"),
    "Receding_Hairline": ("with a full hairline", "with a receding hairline"),
    "Rosy_Cheeks": ("without rosy cheeks", "with rosy cheeks"),
    "Sideburns": ("without sideburns", "with sideburns"),
    "Smiling": ("who is not smiling", "who is smiling"),
    "Straight_Hair": ("without straight hair", "with straight hair"),
    "Wavy_Hair": ("without wavy hair", "with wavy hair"),
    "Wearing_Earrings": ("without earrings", "with earrings"),
    "Wearing_Hat": ("without a hat", "with a hat"),
    "Wearing_Lipstick": ("without lipstick", "with lipstick"),
    "Wearing_Necklace": ("without a necklace", "with a necklace"),
    "Wearing_Necktie": ("without a necktie", "with a necktie"),
    "Young": ("who is old", "who is young"),
}

# Including the names in WILDS and group_DRO.
FOLDERS = ("celeba", "CelebA", "celebA", "celeba-dataset", "celebA_v1.0", "celebA/data", "data")
# The Kaggle archive repeats the folder's name inside the folder.
IMAGES = ("img_align_celeba/img_align_celeba", "img_align_celeba", "Img/img_align_celeba")
PUBLISHED: GroupCounts = ((71629, 66874, 22880, 1387), (8535, 8276, 2874, 182), (9767, 7535, 2480, 180))
MAX_ATTRIBUTES = 5


class CelebA(DatasetReader):
    """The reader of CelebA."""

    words = WORDS
    holds = "list_attr_celeba.txt and img_align_celeba/"
    settings = ("celeba_target", "celeba_attributes")

    @staticmethod
    def read(root: Path, request: DataRequest) -> Dataset:
        """Read the attribute list and the partition list, or one merged table, and find the image folder.

        The 2^k combinations of k spurious attributes are numbered as binary numbers whose first digit is the first one.
        """
        target = TARGET if request.celeba_target is None else request.celeba_target
        attributes = SPURIOUS if request.celeba_attributes is None else request.celeba_attributes
        _check_task(target, attributes)
        root = find_root(root, FOLDERS, (*ATTRIBUTES, *MERGED), "CelebA")
        is_usual = (target, attributes) == (TARGET, SPURIOUS)
        notes: list[str] = []
        rows = celeba_columns(root, (target, *attributes), is_usual, notes)
        if found := first_of(root, IMAGES):
            folder = found.relative_to(root).as_posix()
        elif root.name == "img_align_celeba" and rows.path.parent == root:  # a merged table among the images
            folder = "."
        else:
            raise InputError(f"{root}: none of {', '.join(IMAGES)} is here; CelebA needs one of them")
        labels, *spurious = (rows.decode(name, PRESENT.get, VALUES) for name in (target, *attributes))
        splits = rows.decode_numbers(SPLIT, 3)
        sizes, published = np.bincount(splits, minlength=3).tolist(), [sum(counts) for counts in PUBLISHED]
        if not is_usual and sizes != published and not first_of(root, (NOT_PUBLISHED,)):  # here are no published groups
            shown = ["/".join(map(str, numbers)) for numbers in (sizes, published)]
            notes.append(f"train/val/test have {shown[0]} images (published {shown[1]})")
        paths = (f"{folder}/{name}" for name in rows.values[IMAGE])
        return Dataset(
            "celeba",
            root,
            rows.path,
            tuple(relative_path(path, root, rows.where(row)) for row, path in enumerate(paths)),
            lines=np.array(rows.lines, dtype=np.int64),
            labels=labels,
            attributes=reduce(lambda combination, present: 2 * combination + present, spurious),
            splits=splits,
            words=celeba_words(target, attributes),
            notes=tuple(notes),
            published=PUBLISHED if is_usual else None,
        )


def _check_task(target: str, attributes: Sequence[str]) -> None:
    for setting, name in (("target", target), *(("attributes", name) for name in attributes)):
        if name not in CLAUSES:
            hint = nearest(name, list(CLAUSES)) or "; use the names in list_attr_celeba.txt, for example Smiling"
            hint = COMMA_HINT if "," in name else hint
            raise InputError(f"--celeba-{setting}: {name!r} is none of CelebA's {len(CLAUSES)} attributes{hint}")
    flag, number = "--celeba-attributes", len(attributes)
    if not 1 <= number <= MAX_ATTRIBUTES:
        raise InputError(f"{flag}: found {number}; expected 1 to {MAX_ATTRIBUTES}, whose combinations make the groups")
    for name in attributes:
        if name == target or attributes.count(name) > 1:
            role = "the target" if name == target else "an attribute"
            raise InputError(f"{flag}: {name!r} is given twice (as {role} too); an attribute has one role")


def celeba_words(target: str, attributes: Sequence[str]) -> Words:
    """Return words for two classes (attribute absent and present), and for one attribute, or a factor for each."""
    usual = target == TARGET
    vocabularies = [WORDS.attributes if (name,) == SPURIOUS else _vocabulary(name) for name in attributes]
    factors = [
        Factor(name, vocabulary, tuple(vocabulary), {})
        for name, vocabulary in zip(attributes, vocabularies, strict=True)
    ]
    return Words(
        classes=WORDS.classes if usual else _vocabulary(target),
        attributes=vocabularies[0],
        templates=WORDS.templates if usual else ("A photo of a {}.",),
        attribute_templates=WORDS.attribute_templates,
        factors=tuple(factors) if len(factors) > 1 else (),
    )


def _vocabulary(attribute: str) -> Vocabulary:
    """Return names and wordings of an attribute, absent and present: "who is young" is called "young"."""
    return {re.sub("^(who is|with|in) ", "", clause): (f"celebrity {clause}",) for clause in CLAUSES[attribute]}

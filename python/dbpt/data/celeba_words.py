"""What CLIP is told of CelebA's forty attributes: a clause for an image without each, and one for an image with it."""

from collections.abc import Sequence
from itertools import product

from dbpt.data.words import Vocabulary, Words

TARGET, SPURIOUS = "Blond_Hair", ("Male",)
# Of the task that the literature reports; the sentences are those of the published code for it.
WORDS = Words(
    classes={"dark hair": ("dark hair",), "blond hair": ("blond hair",)},
    attributes={"female": ("female celebrity",), "male": ("male celebrity",)},
    templates=("A photo of a celebrity with {}.",),
    attribute_templates=("A photo of a {}.",),
)
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


def celeba_words(target: str, attributes: Sequence[str]) -> Words:
    """Two classes, absent and present, and the 2^k combinations of k attributes, the first one varying slowest."""
    usual = target == TARGET
    return Words(
        classes=WORDS.classes if usual else _vocabulary((target,)),
        attributes=WORDS.attributes if tuple(attributes) == SPURIOUS else _vocabulary(attributes),
        templates=WORDS.templates if usual else ("A photo of a {}.",),
        attribute_templates=WORDS.attribute_templates,
    )


def _vocabulary(attributes: Sequence[str]) -> Vocabulary:
    combinations = product(*(CLAUSES[attribute] for attribute in attributes))
    return {", ".join(map(_name, clauses)): (f"celebrity {' and '.join(clauses)}",) for clauses in combinations}


def _name(clause: str) -> str:
    """``"male"`` of ``"who is male"``, ``"bangs"`` of ``"with bangs"``."""
    for beginning in ("who is ", "with ", "in "):
        clause = clause.removeprefix(beginning)
    return clause

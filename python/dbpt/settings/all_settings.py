"""Every setting of a run, in sections, for `FitConfig`. The defaults are ours; we have not seen the paper's."""

from __future__ import annotations  # the fields' types are read as text by check_setting

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dbpt.data.features_from_file import MAX_FAILURES
from dbpt.data.words import SENTENCE_START
from dbpt.environment import cache_folder
from dbpt.groups import MAX_WEIGHT, MIN_GROUP_COUNT
from dbpt.guesses.base import PSEUDO_METHODS
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES, TRAINING_FREE
from dbpt.settings.fields import AUTO, SettingsSection, setting

# For one batch of all rows (one step per epoch), and for small batches (ten times as many steps or more).
DEFAULT_DRO_STEP = {False: 0.1, True: 0.01}
GROUP_SOURCES, PROMPTS, APPLICATIONS = ("pseudo", "ppa", "true"), ("class", "group"), ("loss", "sampling")
TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
PSEUDO_SELECTIONS, TRUE_SELECTIONS = ("pseudo-wgp", "pseudo-wga"), ("true-wgp", "true-wga")
SELECTIONS = (*PSEUDO_SELECTIONS, *TRUE_SELECTIONS, "average", "last")
PROBABILITY_SELECTIONS = ("pseudo-wgp", "true-wgp")
DEFAULT_SELECTIONS = {True: "pseudo-wgp", False: "average"}
"""The default by whether the objective knows groups. Chosen for the worst group, ERM would hide its bias."""
PRIOR_IMAGES = 5  # in the rarest group, for an ``alpha`` of one half
DEFAULT_MODEL, DEFAULT_PRETRAINED = "ViT-B-32-quickgelu", "openai"


def method_name(objective: str, prompts: str) -> str:
    """Return the name of an objective, with ``:group`` for group prompts if it could train class prompts too."""
    is_named = prompts == "group" and "class" in OBJECTIVES[objective].prompts
    return f"{objective}:group" if is_named else objective


def method_title(name: str, prompts: str | None, *details: Sequence[str]) -> str:
    """Return the title of an objective, or of a method without training, with details in brackets, first the head."""
    kind = OBJECTIVES.get(name)
    free = TRAINING_FREE.get(name)
    title = kind.title if kind else free.title if free else name
    of_prompts = ["group prompts"] if prompts == "group" and kind and "class" in kind.prompts else []
    texts = [*details[0], *of_prompts, *(text for texts in details[1:] for text in texts)]
    return f"{title} ({', '.join(texts)})" if texts else title


@dataclass(frozen=True, kw_only=True)
class WordSettings(SettingsSection):
    """The names for CLIP; None means the data set's own."""

    title = "words"

    classes: tuple[str, ...] | None = setting(
        None, "class names with optional wordings: 'animal=dog|elephant'", main=True
    )
    attributes: tuple[str, ...] | None = setting(
        None,
        "values of the suspected attribute with optional wordings: 'land=forest|field'; auto finds values that "
        "explain the errors of zero-shot CLIP, in an audit those of its classifier; clusters finds groups without "
        "names (clusters:3 sets their number); column:NAME takes the values of a column of the data, measured:NAME "
        "those of a property of the images, such as brightness",
        main=True,
    )
    factors: tuple[str, ...] | None = setting(
        None,
        "several suspected attributes, in place of attributes: 'style: photo, sketch=sketch|drawing' "
        "'place: sea, land'; with 'place[ship]: sea, harbour', images of class ship can only have these values",
        main=True,
    )
    template: tuple[str, ...] | None = setting(None, "sentences with {} for the zero-shot classes")
    attribute_template: tuple[str, ...] | None = setting(None, "sentences with {} for the attributes")
    group_template: tuple[str, ...] | None = setting(
        None,
        "sentences for the groups: 'a {attribute} of a {class}.'; the prompt starts from the first, everything else "
        "uses their mean",
        unset="the data's own, else six generic ones",
    )


@dataclass(frozen=True, kw_only=True)
class DataSettings(SettingsSection):
    """The images and labels, and the way to read them."""

    title = "data"

    data: str = setting(
        "",
        "demo, waterbirds, celeba, metashift, a table (.csv, .tsv, .jsonl, .parquet), a folder of images or saved by "
        "Hugging Face's datasets, or .tar shards",
        identity=False,
        main=True,
    )
    root: str | None = setting(None, "folder of the images", unset="the table's folder", identity=False, main=True)
    columns: tuple[str, ...] | None = setting(
        None,
        "names of the table's columns for path, label, split and attribute: 'path=file' 'label=y'; prediction and "
        "prediction_path name those of the table of an audit's --predictions",
        identity=False,
        main=True,
    )
    embeddings: str | None = setting(
        None,
        "precomputed features to use instead of images: .npy, .safetensors, .parquet, or a folder of parts",
        identity=False,
        main=True,
    )
    celeba_target: str | None = setting(None, "CelebA attribute to use as the class", unset="Blond_Hair")
    celeba_attributes: tuple[str, ...] | None = setting(
        None, "CelebA attributes to use as the spurious attribute; several are combined", unset="Male"
    )
    shots: int | None = setting(
        None,
        "few-shot learning as in CoOp: number of training images of each class, drawn with the seed; validation uses "
        "as many, but at most 4",
        unset="all images",
        low=1,
    )
    val_fraction: float = setting(
        0.2, "fraction of the training split to hold out if there is no validation split", above=0, below=1
    )
    max_failures: float = setting(
        MAX_FAILURES, "largest fraction of images that may be unreadable", low=0, high=1, identity=False
    )


@dataclass(frozen=True, kw_only=True)
class BackboneSettings(SettingsSection):
    """The frozen CLIP, and the computation and storage of its features."""

    title = "backbone"

    model: str | None = setting(
        None,
        "open_clip name, hf-hub:..., local-dir:..., or a .json config",
        unset="ViT-B-32-quickgelu",
        identity=False,
        main=True,
    )
    pretrained: str | None = setting(
        None, "open_clip tag or a .safetensors file", unset="openai", identity=False, main=True
    )
    tokenizer: str | None = setting(None, "local tokenizer.json that replaces the model's tokenizer", identity=False)
    image_precision: str = setting(
        "auto",
        "precision of the frozen image tower; auto is bf16 for towers of 10 million parameters and more on processors "
        "that multiply it in hardware, else float32; fp16 needs a GPU; bf16 and fp16 also halve the cache",
        choices=("auto", "float32", "bf16", "fp16"),
    )
    device: str = setting("auto", "torch device; auto uses a GPU if there is one", identity=False, main=True)
    cache: str | None = setting(
        None,
        "folder for cached features, demo data and saved data sets",
        unset="$DBPT_CACHE, else ~/.cache/dbpt",
        identity=False,
    )
    embed_batch_size: int = setting(128, "images per forward pass of the image tower", low=1, high=4096)
    features: str = setting(
        "cached",
        "features for training: cached (computed once), or live (from random crops and flips in every step)",
        choices=("cached", "live"),
    )

    @property
    def cache_dir(self) -> Path:
        """Return the cache folder, the default resolved."""
        return cache_folder(self.cache)

    @property
    def backbone(self) -> dict[str, Any]:
        """Return the arguments of `dbpt.load_backbone`, the default resolved."""
        named = (self.model, self.pretrained) if self.model else (DEFAULT_MODEL, self.pretrained or DEFAULT_PRETRAINED)
        others = {name: getattr(self, name) for name in ("tokenizer", "device", "image_precision")}
        return {"model": named[0], "pretrained": named[1], **others}


@dataclass(frozen=True, kw_only=True)
class PseudoAttributeSettings(SettingsSection):
    """The assignment of pseudo attributes."""

    title = "pseudo attributes"

    pseudo_method: str = setting(
        "proportional",
        "how to assign pseudo attributes: by estimated attribute shares, largest logit, or clusters; or by a linear "
        "probe of the features, without CLIP's words, that learns from the images whose attribute is known and guesses "
        "only the others; fitted on training and validation images",
        choices=PSEUDO_METHODS,
    )
    probe_rows: int | None = setting(
        None,
        "number of known attributes that the probe learns from, of training and validation images drawn at random with "
        "the seed; shows what few labels are worth",
        unset="all that are known",
        low=2,
    )
    proportions: tuple[float, ...] | None = setting(
        None,
        "share of each attribute in the training and validation images, on any scale, for proportional",
        unset="estimated",
    )
    min_confidence: float = setting(0.0, "posterior below which a pseudo attribute counts as unknown", low=0, below=1)
    pseudo_attributes: str | None = setting(
        None,
        "file of attributes to use instead of CLIP's guesses: a table with the columns path and attribute, and "
        "optionally confidence or p_ATTRIBUTE for each attribute, or .npy in the order of the data; empty is unknown",
        identity=False,
    )
    guess_only_unknown: bool = setting(
        False,
        "keep the attributes that pseudo_attributes, or else the data, have for some images, such as labels by hand, "
        "and let CLIP guess only the others",
    )
    label_model: str | None = setting(
        None, "another CLIP, named as in model, that guesses the attributes", unset="model", identity=False
    )
    label_pretrained: str | None = setting(
        None, "weights of label_model: open_clip tag or a .safetensors file", identity=False
    )


@dataclass(frozen=True, kw_only=True)
class GroupSettings(SettingsSection):
    """The training objective, its groups and their weights."""

    title = "groups"

    objective: str | None = setting(
        None,
        "training objective; those without groups, such as erm, need no attributes",
        unset="dbpt for class prompts, gla for group prompts",
        choices=OBJECTIVES,
        main=True,
    )
    group_source: str = setting(
        "pseudo",
        "what defines the groups: pseudo attributes, errors of a probe (ppa, needs no attribute) or true attributes",
        choices=GROUP_SOURCES,
        main=True,
    )
    apply: str | None = setting(
        None,
        "apply weights to the loss or to the sampling probabilities",
        unset="sampling for AdamW with small batches, else loss",
        choices=APPLICATIONS,
    )
    eta: float = setting(1.0, "strength of the group weights; larger values favour badly predicted groups", low=0)
    ema_momentum: float = setting(0.9, "momentum of the group weights' moving average", low=0, below=1)
    min_group_count: float = setting(
        MIN_GROUP_COUNT,
        "smallest count used in 1/N_g; groups with fewer rows get less than a full share; 0 disables it",
        low=0,
    )
    max_weight: float = setting(
        MAX_WEIGHT,
        "largest weight of a row, relative to the mean; keeps the effective sample size at or above N / max_weight",
        low=1,
    )
    tau: float = setting(1.0, "strength of GLA's adjustment by the groups' shares; 0 disables it", low=0)
    dro_step_size: float | None = setting(
        None,
        "step size of Group DRO's weights",
        unset=f"{DEFAULT_DRO_STEP[False]:g}; {DEFAULT_DRO_STEP[True]:g} with small batches",
        low=0,
    )
    identification_epochs: int | None = setting(
        None, "epochs of JTT's first stage, which finds the errors", unset="a quarter of epochs", low=1
    )
    up_weight: float = setting(20.0, "weight of a row in JTT's error set, relative to other rows", low=1)
    afr_gamma: float = setting(2.0, "strength of AFR's weights; larger values favour badly predicted rows", low=0)
    afr_pull: float = setting(0.0, "strength of AFR's pull towards the layer of its first stage", low=0)


@dataclass(frozen=True, kw_only=True)
class HeadSettings(SettingsSection):
    """The part of the classifier that is trained."""

    title = "head"

    head: str = setting("prompt", "part of the classifier to train", choices=HEADS, main=True)
    prompts: str = setting(
        "auto",
        "what the classifier tells apart: classes, or groups, whose probabilities it sums; auto: groups, part of the "
        "way from untrained to trained, unless validation shows that others are better",
        choices=(*PROMPTS, AUTO),
        main=True,
    )
    alpha: float | None = setting(
        None,
        "share of the trained weights in the group prompts that are saved, the rest is untrained: 1 as trained, 0 as "
        "untrained (weight-space ensembling, WiSE-FT)",
        unset=f"n² / (n² + {PRIOR_IMAGES}²) for n training images in the rarest group with auto, else 1",
        low=0,
        high=1,
        identity=False,
    )
    n_ctx: int | None = setting(None, "number of randomly initialised context tokens; replaces ctx_init", low=1)
    ctx_init: str | None = setting(
        None,
        "words that initialise the context",
        unset=f"the first zero-shot sentence that ends with the class, else {SENTENCE_START!r}; unused with n_ctx",
    )
    start_from: str | None = setting(
        None,
        "run folder, or its prompt.safetensors, whose trained context the prompt starts as, in place of ctx_init or "
        "n_ctx",
        identity=False,
    )
    class_specific_context: bool = setting(False, "learn a context for each class (CoOp's CSC) instead of a shared one")
    class_position: str = setting("end", "position of the class name in the prompt", choices=("end", "middle", "front"))
    text_precision: str = setting(
        "float32", "precision of the text tower in training; the context stays float32", choices=("float32", "bf16")
    )
    text_memory_mb: int = setting(
        1000, "memory for the text tower's activations in a step; if more is needed, classes run in chunks", low=1
    )


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(SettingsSection):
    """The training loop: length, optimizer, model selection, seed."""

    title = "training"

    epochs: int = setting(200, "passes over the training split", low=1, main=True)
    batch_size: int = setting(0, "rows per step; 0 uses all training rows", low=0, main=True)
    optimizer: str = setting("adamw", "optimizer", choices=("adamw", "sgd"))
    lr: float | None = setting(
        None,
        "peak learning rate",
        unset="0.1 with sgd; with adamw 0.01, for the head prompt 0.003",
        above=0,
        high=1e30,
        main=True,
    )
    sgd_momentum: float = setting(0.9, "momentum of SGD", low=0, below=1)
    weight_decay: float = setting(5e-4, "weight decay", low=0)
    warmup_epochs: int = setting(1, "epochs at a learning rate of 1e-5 before the cosine schedule", low=0)
    model_selection: str = setting(
        AUTO,
        "metric on the validation split that selects the best epoch: wgp is the mean probability of the true class in "
        "the worst group, wga the accuracy there, with pseudo or true groups; average is the average accuracy; last "
        "takes the last epoch; auto is pseudo-wgp, and average for objectives without groups such as erm",
        choices=(AUTO, *SELECTIONS),
    )
    seed: int = setting(0, "seed of all random draws", low=0, high=2**63 - 1, main=True)


@dataclass(frozen=True, kw_only=True)
class OutputSettings(SettingsSection):
    """Reports of a run besides the chosen method."""

    title = "output"

    baselines: bool = setting(True, "also train the ERM baseline", identity=False)
    average: str | None = setting(
        None,
        "average in the tables: over all images, or adjusted to the group shares of the training images",
        unset="adjusted for waterbirds, else plain",
        choices=("plain", "adjusted"),
        identity=False,
    )
    report_to: tuple[str, ...] | None = setting(
        None, "experiment trackers that get the figures of each epoch and the table", choices=TRACKERS, identity=False
    )


SECTIONS: tuple[type[SettingsSection], ...] = tuple(SettingsSection.__subclasses__())  # in the order above

# The settings of commands that train nothing; of one that looks for attributes; and those by which CLIP guesses them.
AUDIT_SETTINGS = frozenset(field_.name for section in SECTIONS[:4] for field_ in fields(section)) | {"seed", "average"}
AUDIT_SETTINGS -= {"data", "shots", "val_fraction", "features", "group_template"}
DISCOVER_SETTINGS = AUDIT_SETTINGS - {field_.name for field_ in fields(PseudoAttributeSettings)}
DISCOVER_SETTINGS -= {"attributes", "factors", "attribute_template", "celeba_attributes", "average"}
GUESS_SETTINGS = AUDIT_SETTINGS - {"pseudo_attributes", "guess_only_unknown", "label_model", "label_pretrained"}
GUESS_SETTINGS -= {"average"}

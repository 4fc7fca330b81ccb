"""`FitConfig`: every setting of a run, under one name in Python, on the command line and in a TOML file.

The defaults are ours; we have not seen the paper's.
"""

from __future__ import annotations  # the fields' types are read as text by check_setting

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from dbpt.data.words import SENTENCE_START
from dbpt.errors import InputError, nearest
from dbpt.files.disk import default_cache_dir, expanded, read_regular
from dbpt.groups import MAX_WEIGHT, MIN_GROUP_COUNT
from dbpt.heads import HEADS
from dbpt.objectives import OBJECTIVES
from dbpt.settings.combinations import APPLICATIONS, GROUP_SOURCES, SELECTIONS, why_config_refused
from dbpt.settings.fields import GROUPS, check_setting, declare
from dbpt.settings.recipes import RECIPES, apply_recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# In one batch of all rows, a step an epoch, and in small batches, ten times as many steps or more.
DEFAULT_DRO_STEP = {False: 0.1, True: 0.01}
DEFAULT_MODEL, DEFAULT_PRETRAINED = "ViT-B-32-quickgelu", "openai"
PATHS = ("data", "root", "embeddings", "model", "pretrained", "tokenizer", "cache")


_data, _words, _backbone, _pseudo, _groups, _head, _training, _output = (partial(declare, group) for group in GROUPS)


@dataclass(frozen=True)
class FitConfig:
    """The settings of `dbpt.fit`. Raises `InputError` for a bad value, and for settings that do not go together."""

    # data
    data: str = _data(
        "",
        "demo, waterbirds, celeba, metashift, a table (.csv, .tsv, .jsonl, .parquet), a folder of images or saved by "
        "Hugging Face's datasets, or .tar shards",
        identity=False,
    )
    root: str | None = _data(None, "folder of the images [default: the table's folder]", identity=False)
    columns: tuple[str, ...] | None = _data(
        None, "names of the table's columns for path, label, split and attribute: 'path=file' 'label=y'", identity=False
    )
    embeddings: str | None = _data(
        None,
        "precomputed features to use instead of images: .npy, .safetensors, or a folder that contains img_emb",
        identity=False,
    )
    celeba_target: str | None = _data(None, "CelebA attribute to use as the class [default: Blond_Hair]")
    celeba_attributes: tuple[str, ...] | None = _data(
        None, "CelebA attributes to use as the spurious attribute; several are combined [default: Male]"
    )
    val_fraction: float = _data(
        0.2, "fraction of the training split to hold out if there is no validation split", above=0, below=1
    )
    max_failures: float = _data(
        0.01, "largest fraction of images that may be unreadable", low=0, high=1, identity=False
    )

    # words
    classes: tuple[str, ...] | None = _words(None, "class names with optional wordings: 'animal=dog|elephant'")
    attributes: tuple[str, ...] | None = _words(
        None, "values of the suspected attribute with optional wordings: 'land=forest|field'"
    )
    template: tuple[str, ...] | None = _words(None, "sentence with {} for the zero-shot classes; repeatable")
    attribute_template: tuple[str, ...] | None = _words(None, "sentence with {} for the attributes; repeatable")

    # backbone
    model: str | None = _backbone(
        None,
        "open_clip name, hf-hub:..., local-dir:..., or a .json config [default: ViT-B-32-quickgelu]",
        identity=False,
    )
    pretrained: str | None = _backbone(None, "open_clip tag or a .safetensors file [default: openai]", identity=False)
    tokenizer: str | None = _backbone(None, "local tokenizer.json that replaces the model's tokenizer", identity=False)
    image_precision: str = _backbone(
        "float32",
        "precision of the frozen image tower; fp16 needs a GPU; bf16 and fp16 also halve the cache",
        choices=("float32", "bf16", "fp16"),
    )
    device: str = _backbone("auto", "torch device; auto uses a GPU if there is one", identity=False)
    cache: str | None = _backbone(
        None, "folder for cached features, demo data and saved data sets [default: ~/.cache/dbpt]", identity=False
    )
    embed_batch_size: int = _backbone(128, "images per forward pass of the image tower", low=1, high=4096)
    features: str = _backbone(
        "cached",
        "features for training: cached (computed once), or live (from random crops and flips in every step)",
        choices=("cached", "live"),
    )

    # pseudo attributes
    pseudo_method: str = _pseudo(
        "proportional",
        "how to assign pseudo attributes: by estimated attribute shares, largest logit, or clusters; fitted on "
        "training and validation images",
        choices=("proportional", "argmax", "kmeans"),
    )
    proportions: tuple[float, ...] | None = _pseudo(
        None, "share of each attribute in the training and validation images, for proportional [default: estimated]"
    )
    min_confidence: float = _pseudo(0.0, "posterior below which a pseudo attribute counts as unknown", low=0, below=1)

    # groups
    objective: str = _groups("dbpt", "training objective", choices=OBJECTIVES)
    group_source: str = _groups(
        "pseudo",
        "attributes that define the groups; true needs labels; soft weights each group by its posterior",
        choices=GROUP_SOURCES,
    )
    apply: str | None = _groups(
        None,
        "apply weights to the loss or to the sampling probabilities [default: sampling for AdamW with small batches, "
        "else loss]",
        choices=APPLICATIONS,
    )
    eta: float = _groups(1.0, "strength of the group weights; larger values favour badly predicted groups", low=0)
    ema_momentum: float = _groups(0.9, "momentum of the group weights' moving average", low=0, below=1)
    min_group_count: float = _groups(
        MIN_GROUP_COUNT,
        "smallest count used in 1/N_g; groups with fewer rows get less than a full share; 0 disables it",
        low=0,
    )
    max_weight: float = _groups(
        MAX_WEIGHT,
        "largest weight of a row, relative to the mean; keeps the effective sample size at or above N / max_weight",
        low=1,
    )
    dro_step_size: float | None = _groups(
        None,
        f"step size of Group DRO's weights [default: {DEFAULT_DRO_STEP[False]:g}; {DEFAULT_DRO_STEP[True]:g} with "
        "small batches]",
        low=0,
    )
    identification_epochs: int | None = _groups(
        None, "epochs of JTT's first stage, which finds the errors [default: a quarter of epochs]", low=1
    )
    up_weight: float = _groups(20.0, "weight of a row in JTT's error set, relative to other rows", low=1)

    # head
    head: str = _head("prompt", "part of the classifier to train", choices=HEADS)
    n_ctx: int | None = _head(None, "number of randomly initialised context tokens; replaces ctx_init", low=1)
    ctx_init: str | None = _head(
        None,
        "words that initialise the context [default: the first zero-shot sentence that ends with the class, else "
        f"{SENTENCE_START!r}; unused with n_ctx]",
    )
    class_specific_context: bool = _head(False, "learn a context for each class (CoOp's CSC) instead of a shared one")
    class_position: str = _head("end", "position of the class name in the prompt", choices=("end", "middle", "front"))
    text_precision: str = _head(
        "float32", "precision of the text tower in training; the context stays float32", choices=("float32", "bf16")
    )
    text_memory_mb: int = _head(
        1000, "memory for the text tower's activations in a step; if more is needed, classes run in chunks", low=1
    )

    # training
    epochs: int = _training(200, "passes over the training split", low=1)
    batch_size: int = _training(0, "rows per step; 0 uses all training rows", low=0)
    optimizer: str = _training("adamw", "optimizer", choices=("adamw", "sgd"))
    lr: float | None = _training(
        None,
        "peak learning rate [default: 0.1 with sgd; with adamw 0.01, for the head prompt 0.003]",
        above=0,
    )
    sgd_momentum: float = _training(0.9, "momentum of SGD", low=0, below=1)
    weight_decay: float = _training(5e-4, "weight decay", low=0)
    warmup_epochs: int = _training(1, "epochs at a learning rate of 1e-5 before the cosine schedule", low=0)
    select: str = _training(
        "pseudo-wga", "metric on the validation split that selects the best epoch", choices=SELECTIONS
    )
    seed: int = _training(0, "seed of all random draws", low=0, high=2**63 - 1)

    # output
    baselines: bool = _output(True, "also train the ERM baseline", identity=False)
    average: str | None = _output(
        None,
        "average in the tables: over all images, or adjusted to the group shares of the training images "
        "[default: adjusted for waterbirds, else plain]",
        choices=("plain", "adjusted"),
        identity=False,
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            check_setting(setting, getattr(self, setting.name))
        if self.proportions is not None and not (min(self.proportions, default=-1) >= 0 and sum(self.proportions) > 0):
            found = " ".join(map(str, self.proportions)) or "none"
            raise InputError(f"--proportions: must be 0 or above and not all 0, found {found}")
        if refusal := why_config_refused(self):
            raise InputError(refusal)

    @property
    def cache_dir(self) -> Path:
        """Return the cache folder, the default resolved."""
        return Path(expanded(self.cache)) if self.cache else default_cache_dir()

    @property
    def named_model(self) -> tuple[str, str | None]:
        """Return model and weights, as `dbpt.load_backbone` takes them, the default resolved."""
        return (self.model, self.pretrained) if self.model else (DEFAULT_MODEL, self.pretrained or DEFAULT_PRETRAINED)

    @property
    def default_lr(self) -> float:
        """Return the default learning rate of optimizer and head."""
        return HEADS[self.head].default_lr[self.optimizer]

    @property
    def peak_lr(self) -> float:
        """Return the learning rate, the default resolved."""
        return self.default_lr if self.lr is None else self.lr

    @property
    def weights_fade(self) -> bool:
        """Return whether weights in the loss fade: in small batches, AdamW divides by the size of recent gradients."""
        return self.optimizer == "adamw" and self.batch_size > 0

    def application(self, objective: str) -> str | None:
        """Return how ``objective`` applies its weights, the default resolved; None if it has none."""
        if not OBJECTIVES[objective].can_sample:
            return None
        return self.apply or ("sampling" if self.weights_fade else "loss")

    def resolved(self) -> FitConfig:
        """Return the settings with the defaults that depend on other settings filled in."""
        return replace(
            self,
            lr=self.peak_lr,
            apply=self.application(self.objective),
            dro_step_size=DEFAULT_DRO_STEP[self.batch_size > 0] if self.dro_step_size is None else self.dro_step_size,
            identification_epochs=self.identification_epochs or max(1, self.epochs // 4),
        )

    def values(self, names: Iterable[str]) -> dict[str, Any]:
        """Return the resolved settings ``names``."""
        resolved = self.resolved()
        return {name: getattr(resolved, name) for name in names}

    def identity(self) -> dict[str, Any]:
        """Return the resolved settings that determine a training, but for the files that they name."""
        return self.values(setting.name for setting in fields(self) if setting.metadata["identity"])

    def to_toml(self) -> str:
        """Return the settings as TOML for `read_config`, without those that are None."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        # JSON is TOML but for two differences: no surrogate pairs, and DEL is escaped
        lines = (f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in given.items())
        return "".join(lines).replace("\x7f", "\\u007f")


def make_config(settings: Mapping[str, Any]) -> FitConfig:
    """Build a `FitConfig` from names and values, and from a ``recipe`` for the others; refuses an unknown name."""
    given = dict(settings)
    recipe = given.pop("recipe", "default")
    valid = [setting.name for setting in fields(FitConfig)]
    for name in given:
        if name not in valid:
            raise InputError(f"unknown setting {name!r}{nearest(name, valid)}; valid: recipe, {', '.join(valid)}")
    if not isinstance(recipe, str) or recipe not in RECIPES:
        raise InputError(f"--recipe: {recipe!r} is none of {', '.join(RECIPES)}{nearest(str(recipe), list(RECIPES))}")
    plain = {name: _plain(value) for name, value in apply_recipe(recipe, given).items()}
    return FitConfig(**plain | {name: expanded(plain[name]) for name in PATHS if isinstance(plain.get(name), str)})


def read_config(path: Path) -> dict[str, Any]:
    """Read settings from a TOML file, as `make_config` takes them. Raises `InputError` if it refuses them."""
    text = read_regular(path, "TOML config", 1 << 20)
    try:
        settings = tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot read as a TOML config: {error}") from None
    try:
        make_config(settings)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return {name: _plain(value) for name, value in settings.items()}


def _plain(value: Any) -> Any:
    """Return the value with paths as strings, NumPy scalars as Python's and sequences as tuples."""
    if callable(item := getattr(value, "item", None)):
        return item()
    if isinstance(value, Path):
        return str(value)
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value

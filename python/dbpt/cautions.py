"""Warnings and doubts as fields, and the sentences that are made of them for people.

A stage returns each `Caution`; whoever prints, logs or shows it takes ``str()`` of it. No code reads a sentence.
"""

from dataclasses import dataclass, field
from string import Formatter
from typing import Any

from dbpt.errors import first_few, in_quotes

MOST_NAMED = 10
"""As many names of a list are in a sentence."""

SENTENCES = {
    "text": "{text}",  # of an extension, which has no kind here
    # data
    "held out": "no validation split: {n} of the training rows, stratified by {by}, serve as one (--val-fraction)",
    "unreadable image": "{where}: {path}: {reason}; left out until the file is mended",
    "more unreadable images": "further unreadable images, left out: {n}",
    "copies": "{n:copy/copies} among {of:image} (equal features): accuracies count copies, so their intervals are too "
    "narrow; the test of the attribute doesn't; the first is {first!r}, of {original!r}",
    "test copies": "{n} of {of} test images equal training or validation images (equal features), so test figures are "
    "too high; leave them out of one split; the first is {first!r}, a copy of {original!r}",
    "seen in training": "{n} of the audited images were used to train the run or to choose its epoch; figures on new "
    "images may be lower",
    "few true attributes": "only {n} of {of} images have a true attribute: figures are over pseudo groups",
    "unread figures": "{problem}; this evaluation goes on without the run's training counts",
    # files of predictions and attributes
    "ignored rows": "{path}: {n} of {of} rows are ignored, because the data lack their images; the first is {first}",
    "no value": "{where}: {path}: no {noun}: {reason}; left out",
    "more without a value": "further images without a {noun}, left out: {n}",
    "as many in another split": "{path}: its {n} rows are read as the {splits} images of {source}, in the same order; "
    "as many images are in split {others}",
    "indices": "{path}: its integers are read as indices, so {index} means the {noun} {name!r}; to give names, write "
    "them as text",
    "less likely": "{where}: the {noun} in the column {column!r} has not the largest probability, as in {n} of {of} "
    "rows; are the names of the columns p_... in another order?",
    # how attributes were guessed
    "few clusters": "found {n:cluster} for {attributes} attributes, because too few images differ: no image gets the "
    "other attributes",
    "moving centres": "the centres still moved after {n} iterations",
    "shares not met": "the shares [{shares}] cannot be met, because many logits are equal: the labels have [{met}]",
    "few images for shares": "{n} images are too few to estimate the shares of {attributes} attributes: each gets the "
    "one with the largest logit; give proportions if you know them",
    "one cluster": "the shares of the attributes cannot be estimated, so each image gets the one with the largest "
    "logit: a single cluster, which may have heavy tails, describes the logits as well as several",
    "moving shares": "the shares still moved after {n} steps: [{shares}]",
    "no share": "no image looks like attribute {attribute}, so its share is 0",
    # doubts about guesses by words, by a probe, in clusters, from a file
    "sentences": "the guesses change with the sentences around {names:and|the names} (agreement {value}; trusted from "
    "{limit})",
    "spread": "CLIP's odds hardly change from image to image (spread {value}; trusted from {limit})",
    "separation": "the images form no separate groups for {pairs: or for |the names} (separation {value}; trusted "
    "from {limit})",
    "rare": "few images are guessed {names:or}, and no gap separates them from unusual images of another name (density "
    "in the gap {value}; trusted up to {limit})",
    "other words": "other words fit the images better than any of the names ({value} % of a catalogue's words; trusted "
    "up to {limit} %)",
    "unused": "no image was guessed {names:or}",
    "leave out": "leave out {names:and}: {kept:and} alone raise no doubt",
    # doubts about the words of the classes
    "class words": "CLIP hardly tells {names:and} from other classes with the same attribute (separation {value}; "
    "trusted from {limit}); give other wordings (--classes NAME=WORDING), or another CLIP",
    "order": "{names:and} look swapped: CLIP finds each in the images of another; give the names in the order of the "
    "numbers in the data ({flag}), or other wordings",
    "order of predictions": "{names:and} look swapped: the images of each are predicted as another; if the {flag} "
    "are numbers, write the names of classes instead",
    "class accuracy": "zero-shot CLIP gets {right:.1f} % of the classes right, less than always answering {largest} "
    "({share:.1f} %); give other wordings (--classes NAME=WORDING), or another CLIP",
    "words of suspicious": "CLIP hardly knows the classes by their words, and suspicious.csv asks it too: more right "
    "labels may look wrong; give other wordings (--classes NAME=WORDING)",
    "few known": "only {n:known image} of {group}, too few to judge the probe there (trusted from {limit})",
    "out of fold": "out of fold, too few of the {n} known images are guessed right (agreement within classes {value}; "
    "trusted from {limit})",
    "no clusters": "the images of {classes} form no distinct clusters (separation {value}; trusted from {limit})",
    "few different images": "too few different images of {classes} to tell whether the clusters are distinct (from "
    "{limit} images)",
    # why a family of the catalogue is not proposed; without what the class names say, or as it is
    "names without images": "fewer than two of its names have images",
    "no test": "no class has both right and wrong images and two of its names",
    "chance": "errors don't depend on it more than by chance (q = {value}, above {limit})",
    "small difference": "accuracies differ by {value} points within a class, below {limit}",
    "no more than one": "one of the two explains {limit} % of the errors alone, and both surely only {value} %",
    "words of the classes": "it has words of the classes: {words}",
    "other guesses": "without what the class names say, CLIP guesses differently (agreement {value}; at least {limit})",
    "doubted beyond": "without what the class names say, CLIP can't tell its names apart",
    "chance beyond": "without what the class names say, errors don't depend on it more than by chance (q = {value}, "
    "above {limit})",
    "small difference beyond": "without what the class names say, accuracies differ by {value} points within a class, "
    "below {limit}",
    # settings
    "no effect": "{flag} {value} changes nothing in this run: only {readers} would read it",
    "no effect but in ERM": "{flag} {value} changes nothing in this run but in the ERM row: only {readers} would read "
    "it",
    "no group prompts": "--group-template {templates} changes nothing in this run: only group prompts with named "
    "groups would read it",
    "only warm-up": "--epochs {epochs}: all of them are warm-up, at a learning rate of 1e-5, so little is learnt",
    "fading weights": "--apply loss with --optimizer adamw and --batch-size {batch_size}: AdamW takes most of the "
    "group weights out of small batches; choose --apply sampling or --optimizer sgd",
    "compared settings": "rows differ in settings: choose by validation figures; test figures that choose a row are "
    "too high for it",
    # groups of training and validation
    "untrained groups": "{noun} with no row in split {split!r}: {groups}; nothing is learnt about them: add such rows",
    "unvalidated groups": "{noun} with no row in split 'val': {groups}; the epoch is chosen without them: add such "
    "rows, or choose with --model-selection last",
    "small validation groups": "{noun} with under {limit} rows in split 'val': {groups}; a few images decide which "
    "epoch is best: add such rows, or choose with --model-selection last, or with average, by the common groups",
    "few shots": "--shots {shots}: these classes have fewer training images, and all of them are used: {classes}",
    "few shots choose": "--shots {shots}: {n} validation images of each class decide which epoch is best; "
    "--model-selection last takes the last one, as CoOp does",
    "no errors of the probe": "--group-source ppa: the probe gets every training image right, so each class is one "
    "group and nothing is balanced; train on more images",
    # labels by hand
    "group not labelled": "group {group}: no image was labelled as this; missing from the worst group, not 0",
    "guessed group not labelled": "group {group}: no image was labelled as this, though the run puts {n} there; "
    "missing from the worst group, not 0",
    "few labels": "under {least} labelled images: {groups}; read their intervals, or label more images",
    "unsure labels": "{n} of {of} images could not be told; they count as not drawn, which makes the figures too high "
    "if they are the hard ones",
    "images not labelled": "{n} of {of} drawn images are not labelled; they count as not drawn",
    "strata not labelled": "{n} of {of} strata ({images} images) have no labelled image; the most similar strata "
    "replace them",
    "trained on this split": "the classifier was trained on this split, so its accuracies are too high",
    # a training
    "lowered rate": "the learning rate was lowered from {before:g} to {lr:g} after epoch {epoch}",
    "rate lowered too late": "all epochs were trained, at learning rate {lr:g}, when --lr was lowered to {asked:g}",
    "still improving": "the best epoch, {best}, is among the last of {epochs}: train on with --epochs {more}, or with "
    "a larger --lr",
    "untrained": "the best epoch is the first of {epochs}, so this classifier is nearly that before training",
    "diverged": "training diverged: its loss rose from {first:.3g} to {last:.3g}, where guessing has {guessing:.3g}; "
    "lower --lr",
    "undrawn groups": "groups without a drawn row: {groups}; these epochs learned nothing about them; --apply loss "
    "uses every row",
    "weightless groups": "groups with weight 0: {groups}; lower --eta or --dro-step-size",
    "small subset": "trained on only {n} of {of:row}; add rows of the smallest groups, or weight them with "
    "--objective balanced",
    "few effective rows": "the effective sample size is {effective:.0f} of {n} rows: a row of {group} weighs "
    "{weight:.3g} times the mean; add rows of that group, or lower --max-weight, --eta or --dro-step-size",
    # accuracy by group
    "empty groups": "{n:group} without images: {groups}; left out of worst-group accuracy and group mean",
    "unknown attributes": "{n:image} of unknown attribute, counted in the average only",
    "test is harder": "worst-group accuracy is {val:.1f} % on the validation images, but {test:.1f} % on the test "
    "images: the splits differ in something that the groups don't show, and model selection can't help there",
    "errors are wrong labels": "{n} of {of:error} in {group} look like wrong labels: look at them (suspicious.csv), "
    "correct those that are wrong in the table, and audit again",
    "small worst group": "worst group {group}: only {n:image}, one image moves it by {points:.1f} points",
}
"""The sentence of each kind. A number may name what it counts, as in ``{n:image}``; see `_Words`."""


@dataclass(frozen=True)
class Caution:
    """A warning, or a doubt about guesses: what was found, and its values. ``str()`` is the sentence for people.

    Attributes:
        kind: one of the `SENTENCES`.
        values: the texts, numbers and lists that its sentence has. A doubt with a ``limit`` has the ``value`` that is
            on the wrong side of it.
        of: the attribute or the row of a table that it is about, if there are several.
        classes: the classes that it is about, if not all.

    Raises:
        ValueError: for values that the sentence can't be made of.
    """

    kind: str
    values: dict[str, Any] = field(default_factory=dict, hash=False)
    of: str = ""
    classes: list[str] = field(default_factory=list, hash=False)

    def __post_init__(self) -> None:
        try:
            str(self)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{self.kind!r} with {self.values!r:.200} makes no warning ({error!r:.200})") from None

    @property
    def sentence(self) -> str:
        """The sentence, without what it is about."""
        values = dict(self.values)
        if "limit" in values and "value" in values:
            values["value"] = short_of(values["value"], values["limit"], 0 if values["limit"] > 1 else 2)
            values["limit"] = f"{values['limit']:g}"
        text = _Words().vformat(SENTENCES[self.kind], (), values)
        return f"for {', '.join(self.classes)}, {text}" if self.classes else text

    def __str__(self) -> str:
        return f"{self.of}: {self.sentence}" if self.of else self.sentence


def caution(kind: str, **values: Any) -> Caution:
    """Return the caution with these values."""
    return Caution(kind, values)


class _Words(Formatter):
    """Formats lists of names and of pairs with the words between them, and numbers with the noun that they count.

    ``{names:or|none}`` has the names in quotes, with "or" before the last; no names are "none". ``{n:copy/copies}`` is
    "1 copy" or "2 copies".
    """

    def format_field(self, value: Any, spec: str) -> str:
        if isinstance(value, list):
            between, _, of_none = spec.partition("|")
            if not value:
                return of_none
            if isinstance(value[0], list):
                return between.join(map(in_quotes, value))
            return in_quotes(value, between) if between else first_few(list(map(str, value)), MOST_NAMED)
        noun, _, plural = spec.partition("/")
        if noun.replace(" ", "").isalpha() and len(noun) > 1:
            return f"{value:,} {noun if value == 1 else plural or f'{noun}s'}"
        return str(super().format_field(value, spec))


def short_of(value: float, limit: float, decimals: int = 2) -> str:
    """Format a value that is on the wrong side of the limit, with so many decimals that it shows.

    >>> short_of(0.0496, 0.05), short_of(5.3, 5, 0), short_of(0.3, 0.05)
    ('0.0496', '5.3', '0.30')
    """
    while value != limit and float(f"{value:.{decimals}f}") == limit:
        decimals += 1
    return f"{value:.{decimals}f}"

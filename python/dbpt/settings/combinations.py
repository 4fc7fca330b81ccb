"""All settings of a run as one class, what follows from them, and which of them go together."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product

from dbpt.data.other_columns import CodedSource
from dbpt.guesses.base import PSEUDO_METHODS
from dbpt.heads import HEADS, LINEAR_HEADS
from dbpt.heads.tensors import ByTensors
from dbpt.objectives import OBJECTIVES
from dbpt.settings.all_settings import (
    APPLICATIONS,
    DEFAULT_SELECTIONS,
    GROUP_SOURCES,
    PROMPTS,
    PSEUDO_SELECTIONS,
    SELECTIONS,
    TRUE_SELECTIONS,
    BackboneSettings,
    DataSettings,
    GroupSettings,
    HeadSettings,
    OutputSettings,
    PseudoAttributeSettings,
    TrainingSettings,
    WordSettings,
    method_name,
)
from dbpt.settings.fields import (
    AUTO,
    CLUSTERS,
    CODED,
    NOT_WITH_WORD,
    asked_word,
    flag_of,
)


@dataclass(frozen=True, kw_only=True)
class Settings(  # a dataclass takes its fields from the last base on
    OutputSettings,
    TrainingSettings,
    HeadSettings,
    GroupSettings,
    PseudoAttributeSettings,
    BackboneSettings,
    DataSettings,
    WordSettings,
):
    """All settings of a run, each checked by itself."""

    @property
    def trained(self) -> list[tuple[str, str]]:
        """Return objective and prompts of each training; validation chooses if there are two."""
        if self.prompts != AUTO:
            return [(self.objective or ("gla" if self.prompts == "group" else "dbpt"), self.prompts)]
        named = self.objective and [(self.objective, prompts) for prompts in OBJECTIVES[self.objective].prompts]
        return named or [("dbpt", "class"), ("gla", "group")]

    @property
    def has_unnamed_groups(self) -> bool:
        """Return whether nothing in words tells the groups of a class apart."""
        return self.group_source == "ppa" or (self.lacks_words and self.group_source == "pseudo")

    def selection_of(self, objective: str) -> str:
        """Return the metric that selects the best epoch of an objective, the default resolved.

        Args:
            objective: its name.
        """
        is_default = self.model_selection == AUTO
        return DEFAULT_SELECTIONS[OBJECTIVES[objective].uses_groups] if is_default else self.model_selection

    @property
    def selecting_groups(self) -> str | None:
        """Return the source of the groups that selects the epoch of the `trained_objective`, or None."""
        selection = self.selection_of(self.trained_objective)
        if selection in PSEUDO_SELECTIONS:
            return "ppa" if self.group_source == "ppa" else "pseudo"
        return "true" if selection in TRUE_SELECTIONS else None

    @property
    def trained_objective(self) -> str:
        """Return the name of the objective, of the first of `trained`."""
        return self.trained[0][0]

    @property
    def method(self) -> str:
        """Return the name of the first of `trained`, as in a comparison."""
        return method_name(*self.trained[0])

    @property
    def opens_images(self) -> bool:
        """Return whether images are opened, for training or for guessing their attributes."""
        return self.embeddings is None or self.label_model is not None

    @property
    def asks_auto(self) -> bool:
        """Return whether ``attributes`` is the word ``auto``."""
        return asked_word(self.attributes) == (AUTO, "")

    @property
    def names_none(self) -> bool:
        """Return whether ``attributes`` says how to find groups, and names none."""
        return asked_word(self.attributes) is not None

    @property
    def lacks_words(self) -> bool:
        """Return whether ``attributes`` asks for groups that no words name: clusters, or values of a column."""
        return self.names_none and not self.asks_auto

    @property
    def coded(self) -> tuple[CodedSource, str] | None:
        """Return "column" or "measured" and the name, if the attributes are the values of one of these."""
        word, name = asked_word(self.attributes) or ("", "")
        return next(((source, name) for source in CODED if source == word), None)

    @property
    def learns_attributes(self) -> bool:
        """Return whether the attributes are guessed by what learns from known ones, without words."""
        return PSEUDO_METHODS[self.pseudo_method].learns

    @property
    def keeps_known(self) -> bool:
        """Return whether known attributes are kept, and only the others guessed."""
        return self.guess_only_unknown or self.learns_attributes

    @property
    def num_clusters(self) -> int | None:
        """Return the number of clusters in each class that ``attributes`` asks for, 0 if it is open, None for names."""
        word, number = asked_word(self.attributes) or ("", "")
        return int(number or 0) if word == CLUSTERS else None


DROP = "drop one of the two"

CHOICES: Mapping[str, Collection[str]] = {
    "head": HEADS,
    "prompts": PROMPTS,
    "objective": OBJECTIVES,
    "group_source": GROUP_SOURCES,
    "apply": APPLICATIONS,
    "model_selection": SELECTIONS,
}
"""The settings of the matrix, and their values."""


def combinations() -> Iterator[dict[str, str]]:
    """Yield every combination of the matrix, valid or not, as keywords for `why_refused`."""
    for values in product(*CHOICES.values()):
        yield dict(zip(CHOICES, values, strict=True))


def why_refused(
    *, head: str, prompts: str, objective: str, group_source: str, apply: str, model_selection: str
) -> str | None:
    """Return the reason against a combination and the fix, in one line that names the settings; None if it is valid."""
    kind = OBJECTIVES[objective]
    if prompts not in kind.prompts:
        (wanted,) = kind.prompts
        both, only = f"--prompts {prompts} with --objective {objective}", f"{kind.title} trains {wanted} prompts only"
        return f"{both}: {only}; choose --prompts {wanted}"
    if kind.heads is not None and head not in kind.heads:
        wanted = " or ".join(kind.heads)
        both = f"--head {head} with --objective {objective}"
        return f"{both}: {kind.title} trains {wanted} only; choose --head {wanted}"
    if group_source != "pseudo" and not kind.uses_groups:
        return f"--group-source {group_source} with --objective {objective}: {kind.title} uses no groups; {DROP}"
    if prompts == "group" and group_source == "ppa" and (reason := why_groups_stay_alike(head, objective)):
        return reason
    if apply == "sampling" and not kind.can_sample:
        return f"--apply sampling with --objective {objective}: {kind.title} has no weights to sample by; {DROP}"
    return None


def why_groups_stay_alike(head: str, objective: str) -> str | None:
    """Return the reason against group prompts where no words tell the groups apart, in one line; None if it is valid.

    Their outputs begin alike, and only the losses of groups, on weights that are trained, tell them apart.
    """
    alike = "groups without names (--group-source ppa, --attributes clusters or column:NAME) start from equal prompts"
    if not HEADS[head].tells_alike_apart:
        return f"--prompts group with --head {head}: {alike}, which this head can't train apart; choose --head linear"
    if not OBJECTIVES[objective].by_group:
        reason = f"{alike}, which {OBJECTIVES[objective].title} doesn't train apart"
        return f"--prompts group with --objective {objective}: {reason}; choose --objective gla"
    return None


def why_not_mixed(head: str, *, has_words: bool) -> str | None:
    """Return why trained group prompts can't be mixed with untrained ones; None if they can.

    Args:
        head: the name of the head.
        has_words: whether sentences tell the groups of a class apart.
    """
    if not has_words:
        return "groups without words have no untrained prompts to mix with"
    if head in LINEAR_HEADS:
        return None
    linear = HEADS[head].logits is ByTensors.logits
    return None if linear else f"the logits of head {head} are not linear in its weights, so nothing can be mixed"


def why_config_refused(config: Settings) -> str | None:
    """Return the reason against a combination of valid settings in ``config``, or None."""
    return next(_refusals(config), None)


def _refusals(config: Settings) -> Iterator[str]:
    if (asked := asked_word(config.attributes)) is not None:
        yield from _refusals_beside_word(config, *asked)
    yield from _refusals_of_guesses(config)
    yield from _refusals_of_context(config)
    choices = {name: getattr(config, name) for name in CHOICES} | {"apply": config.apply or "loss"}
    objective = OBJECTIVES[config.trained_objective]
    resolved = dict(zip(("objective", "prompts"), config.trained[0], strict=True))
    yield from filter(None, (why_refused(**choices | resolved), objective.why_refused(vars(config))))
    if config.prompts == "group" and config.lacks_words and config.has_unnamed_groups:
        yield from filter(None, [why_groups_stay_alike(config.head, config.trained_objective)])
    if config.alpha is not None:
        alpha, has_words = f"--alpha {config.alpha:g}", not config.has_unnamed_groups
        if not any(prompts == "group" for _, prompts in config.trained):
            why = "it mixes trained group prompts with untrained ones, and no group prompts are trained"
            yield f"{alpha}: {why}; drop it, or choose --prompts group"
        if reason := why_not_mixed(config.head, has_words=has_words):
            yield f"{alpha}: {reason}; leave it out"
    if config.asks_auto and config.learns_attributes:
        yield f"--pseudo-method {config.pseudo_method} with --attributes auto: it learns from known attributes; {DROP}"
    if config.proportions is not None and config.factors is not None:
        yield f"--proportions with --factors: dbpt estimates the shares of each factor; {DROP}"
    if config.embeddings is not None and config.features == "live":
        yield f"--features live with --embeddings: there is no image to crop and flip; {DROP}"
    if 1 < config.epochs <= config.warmup_epochs:
        both, lower = f"--warmup-epochs {config.warmup_epochs} with --epochs {config.epochs}", "lower --warmup-epochs"
        yield f"{both}: all epochs are warm-up, at a learning rate of 1e-5, so little is learnt; {lower}"
    if objective.refits and config.features == "live":
        yield f"--features live with --objective {objective.name}: it is fitted once, on images as they are; {DROP}"


def _refusals_of_guesses(config: Settings) -> Iterator[str]:
    if config.attributes is not None and config.factors is not None:
        yield f"--factors with --attributes: factors replace attributes; {DROP}"
    if config.pseudo_attributes is not None and not config.keeps_known:
        for name in ("label_model", "label_pretrained", "pseudo_method", "proportions"):
            if _is_given(config, name):
                why = "nothing is guessed, since the file has the attributes"
                yield f"--pseudo-attributes with {flag_of(name)}: {why}; {DROP}, or add --guess-only-unknown"
    if config.label_pretrained is not None and config.label_model is None:
        yield f"--label-pretrained {config.label_pretrained}: without --label-model; name the model too"
    read = PSEUDO_METHODS[config.pseudo_method].settings
    if config.probe_rows is not None and "probe_rows" not in read:
        yield f"--probe-rows {config.probe_rows}: without --pseudo-method probe; add it"
    if (shares := config.proportions) is not None:
        if not (min(shares, default=-1) >= 0 and sum(shares) > 0):
            yield f"--proportions: must be 0 or above and not all 0, found {' '.join(map(str, shares)) or 'none'}"
        if "proportions" not in read:
            yield f"--proportions with --pseudo-method {config.pseudo_method}: only proportional can use it; {DROP}"


def _refusals_of_context(config: Settings) -> Iterator[str]:
    if config.ctx_init is not None and not config.ctx_init.strip():
        yield f"--ctx-init {config.ctx_init!r}: no token; expected words, or leave it out"
    if config.ctx_init is not None and config.n_ctx is not None:
        both = f"--n-ctx {config.n_ctx} with --ctx-init {config.ctx_init!r}"
        yield f"{both}: the words determine the number of tokens; {DROP}"
    if config.start_from is not None:
        for name in ("n_ctx", "ctx_init"):
            if _is_given(config, name):
                both = f"--start-from {config.start_from} with {flag_of(name)} {getattr(config, name)}"
                yield f"{both}: the saved prompt has tokens of its own; {DROP}"
        if config.head != "prompt" and not HEADS[config.head].reads_context:  # known without torch
            yield f"--start-from {config.start_from} with --head {config.head}: it has no context to start; {DROP}"


def _refusals_beside_word(config: Settings, word: str, name: str) -> Iterator[str]:
    """Yield the reason against each setting that is given beside a ``word`` of ``--attributes`` and its ``name``."""
    both = f"with --attributes {' '.join(config.attributes or ())}"
    for setting, reason in NOT_WITH_WORD[word].items():
        if _is_given(config, setting):
            value = getattr(config, setting)
            given = " ".join(map(str, value)) if isinstance(value, tuple) else value
            yield f"{flag_of(setting)} {given} {both}: {reason}; {DROP}"
    if word == "measured" and config.embeddings is not None:
        yield f"--embeddings {both}: there is no image to measure; name a column (--attributes column:NAME)"
    for entry in config.columns or () if word == "column" else ():
        if entry.partition("=")[2].strip() == name:
            why = "one column can't be trained on and have another role, such as true attributes for the figures"
            yield f"--columns {entry} {both}: {why}; {DROP}"


def _is_given(config: Settings, name: str) -> bool:
    return bool(getattr(config, name) != getattr(type(config), name))  # a default is an attribute of the class

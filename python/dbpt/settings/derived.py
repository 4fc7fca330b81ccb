"""All settings of a run as one class, and what follows from them."""

from dataclasses import dataclass

from dbpt.guesses.base import PSEUDO_METHODS
from dbpt.objectives import OBJECTIVES
from dbpt.settings.fields import AUTO, asked_word
from dbpt.settings.sections import (
    DEFAULT_SELECTIONS,
    PSEUDO_SELECTIONS,
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


@dataclass(frozen=True, kw_only=True)
class Settings(  # a dataclass takes its fields from the last base on
    OutputSettings,
    TrainingSettings,
    HeadSettings,
    GroupSettings,
    PseudoAttributeSettings,
    BackboneSettings,
    WordSettings,
    DataSettings,
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
        return self.group_source == "ppa" or (self.num_clusters is not None and self.group_source == "pseudo")

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
        return asked_word(self.attributes) == (AUTO, 0)

    @property
    def names_none(self) -> bool:
        """Return whether ``attributes`` says how to find groups, and names none."""
        return asked_word(self.attributes) is not None

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
        word = asked_word(self.attributes)
        return None if word is None or word[0] == AUTO else word[1]

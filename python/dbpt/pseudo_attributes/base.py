"""The interface of a way to guess attributes, ``--pseudo-method``, and the registry of them.

Attributes that nobody guesses by it have files of their own: known ones ``from_file``, and clusters ``class_clusters``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from dbpt.data.registry import Registered, Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dbpt.data.words import Words
    from dbpt.pseudo_attributes.job import Job, PseudoAttributes
    from dbpt.pseudo_attributes.linear_probe import AttributeProbe, Features

PROBE = "probe"


class PseudoMethod(Registered):
    """Turns the logits of one attribute's values into a value for each image. The base class takes the largest logit.

    Several attributes (``--factors``), classes with values of their own, and attributes that are known already are
    handled outside: a method sees the images and the values that it may choose from.
    """

    settings: ClassVar[tuple[str, ...]] = ()
    """Names of the `FitConfig` settings that only this method and some others read."""
    learns: ClassVar[bool] = False
    """True if the logits come from `fit`, not from CLIP's words. Images with a known attribute then keep it."""

    @classmethod
    def check_installed(cls) -> None:
        """Raise `InputError` if a required package is missing; called before any image is embedded."""

    @classmethod
    def fit(
        cls,
        features: Features,
        known: PseudoAttributes,
        labels: NDArray[np.int64],
        may_learn: NDArray[np.bool_],
        words: Words,
        *,
        seed: int,
        way_out: str,
    ) -> AttributeProbe:
        """Return what gives logits (N, K) for the values of all ``words.suspects``. Only if the class `learns`.

        Args:
            features: (N, D).
            known: the known attributes (N,), -1 where unknown.
            labels: (N,) the classes.
            may_learn: (N,) False for the test images.
            words: the classes and attributes.
            seed: the seed of the run.
            way_out: what the user can do if too few attributes are known.
        """
        raise NotImplementedError

    @classmethod
    def label(cls, job: Job) -> PseudoAttributes:
        """Fill the arrays of ``job`` with the label, posterior and confidence of each row, and return its result.

        Only the rows in ``job.fit_rows`` may influence the labels of others.
        """
        return job.largest(cls.name)


PSEUDO_METHODS = Registry[PseudoMethod](
    "pseudo_method",
    "dbpt.pseudo_methods",
    "dbpt.pseudo_attributes.base:PseudoMethod",
    {
        "proportional": "dbpt.pseudo_attributes.proportional:Proportional",
        "argmax": "dbpt.pseudo_attributes.argmax:Argmax",
        "kmeans": "dbpt.pseudo_attributes.kmeans:KMeans",
        PROBE: "dbpt.pseudo_attributes.attribute_probe:Probe",
    },
    reserved=("clusters", "data", "file", "none"),
)
"""The registry of ways to guess. `FitConfig`, the command line and `label_attributes` read their names here."""

register_pseudo_method = PSEUDO_METHODS.register

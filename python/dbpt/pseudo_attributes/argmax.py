"""The attribute with the largest logit."""

from __future__ import annotations

from dbpt._core import assign_argmax
from dbpt.pseudo_attributes.job import Job, WantedOutputs
from dbpt.pseudo_attributes.result import PseudoAttributes


def label(job: Job, wanted: WantedOutputs) -> PseudoAttributes:
    """Label all rows; the posterior is the softmax of the logits."""
    outputs = wanted.allocate(job.num_attributes)
    assign_argmax(job.logits, **outputs.arguments(), num_threads=job.num_threads)
    return PseudoAttributes(outputs.labels, outputs.posterior, outputs.confidence, method="argmax")

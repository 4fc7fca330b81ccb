"""Method "argmax": the largest logit, CLIP's plain zero-shot label. The posterior is the softmax of the logits."""

from dbpt.guesses.base import PseudoMethod


class Argmax(PseudoMethod):
    """The largest logit, as of every method without a `label` of its own."""

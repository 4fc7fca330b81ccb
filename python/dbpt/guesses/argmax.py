"""Method "argmax": the largest logit. `PseudoMethod` already does this; here it gets its name."""

from dbpt.guesses.base import PseudoMethod


class Argmax(PseudoMethod):
    """The largest logit, CLIP's plain zero-shot label. The posterior is the softmax of the logits."""

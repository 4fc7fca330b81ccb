"""The human check: a person labels the attribute of about 200 images, and the figures over pseudo groups are corrected.

`draw_label_sample` goes from a finished run to a folder with a page to label on, `judge_labels` from that folder and
the page's CSV to the figures. Judging needs neither the run, nor the images, nor torch.
"""

from dbpt.human_check.drawing import draw_label_sample
from dbpt.human_check.judging import judge_labels

__all__ = ["draw_label_sample", "judge_labels"]

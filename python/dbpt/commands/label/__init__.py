"""The human check: a person labels the attribute of about 200 images, which correct the figures over pseudo groups.

`draw_label_sample` turns a finished run into a folder with a page for labelling. `judge_labels` computes the figures
from that folder and the CSV of the page, without the run, the images or torch.
"""

"""The audit of a classifier: what it gets wrong in which groups, and whether a suspected attribute explains it.

Here are the figures, the verdict, the user's predictions, the probe and the page. Nothing here trains a prompt.
"""

"""``dbpt compare``: many trainings on one feature cache, as one table with intervals over seeds and over images.

Nothing is imported here: the command line reads the plan's defaults without torch.
"""

"""``dbpt compare``: many trainings on one feature cache, as one table with what the seeds and the images leave open.

`plan` says what is trained, `cells` trains one and writes its result, `jobs` shares them out to processes, `statistics`
has the interval over seeds, `summary` and `notes` say what is known, `tables` prints it, and `comparing` puts them
together. Nothing is imported here: the command line reads the plan's
defaults, and must do without torch.
"""

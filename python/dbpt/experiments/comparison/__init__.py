"""``dbpt compare``: many trainings on one feature cache, as one table with intervals over seeds and over images.

`plan` lists the trainings, `cells` runs one and writes its result, `jobs` distributes them to processes, `summary` and
`notes` gather the numbers and remarks, `tables` prints them, and `comparing` puts the parts together.
Nothing is imported here: the command line reads the plan's defaults without torch.
"""

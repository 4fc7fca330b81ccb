"""`audit`: in which groups a classifier errs, and why."""

"""The commands: what each adds to a study, its evaluation and the page."""

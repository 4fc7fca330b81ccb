"""The settings of a run: their checks, recipes, and valid combinations."""

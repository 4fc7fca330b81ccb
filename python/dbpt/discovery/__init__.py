"""Attributes of a catalogue that explain a classifier's errors: guesses, scores, findings, and the result.

`dbpt.discover` itself is in `dbpt.commands.discover`, as it takes the subjects of an audit.
"""

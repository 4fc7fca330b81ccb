"""Predictions of a study to figures: accuracy by group, and the one schema of results. No words, no files of users."""

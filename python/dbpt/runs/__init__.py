"""The folder of a run or a comparison, the schema of its figures, and the classifier in it."""

"""The folder of a run or a comparison, and the finished classifier that is read back from it."""

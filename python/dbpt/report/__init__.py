"""Present a run or a comparison: sentences, tables as text, charts, and HTML pages of one self-contained file."""

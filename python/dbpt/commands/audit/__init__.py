"""`audit`: figures, verdict and page of a classifier, and the gate. Nothing here trains a prompt."""

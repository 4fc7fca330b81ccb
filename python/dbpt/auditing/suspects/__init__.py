"""`discover`: which attributes of a catalogue, that nobody named, explain a classifier's errors."""

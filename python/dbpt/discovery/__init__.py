"""Search for attributes that explain a classifier's errors, among those of a catalogue."""

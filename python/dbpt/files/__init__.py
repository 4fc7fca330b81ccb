"""Files on disk: read whole, typed or in part; written all at once or not at all; locked by a name."""

"""`discover`: a search of the catalogue for attributes that explain errors, its result and its page."""

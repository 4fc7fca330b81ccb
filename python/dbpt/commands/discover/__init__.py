"""`discover`: attributes that nobody named."""

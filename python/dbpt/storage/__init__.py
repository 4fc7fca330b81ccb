"""Files: written completely or not at all, typed JSON, tensors, and locks against other processes."""

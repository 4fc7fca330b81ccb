"""Files on disk: read and checked, written completely or not at all, locked against other processes."""

"""Times and memory, ours and those of rivals."""

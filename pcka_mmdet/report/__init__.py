"""What became of a training: its log, its cost, tables and pictures."""

"""Checkpoint files: read safely, written whole, the student's own, where to resume."""

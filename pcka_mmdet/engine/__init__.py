"""What runs a training: hooks, logs, checks before the start."""

from .log_processor import LevelLogProcessor

__all__ = ["LevelLogProcessor"]

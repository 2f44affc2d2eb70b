"""Running a training: recipes, hooks, logs, checks before it starts. Importing it registers hooks and wrappers."""

from . import cpu_amp, hooks  # noqa: F401

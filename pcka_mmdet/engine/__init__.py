"""Running a training: recipes, hooks, logs, checks before it starts. Importing it registers what configs name."""

from . import cpu_amp, extra_data, hooks  # noqa: F401

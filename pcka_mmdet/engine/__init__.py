"""Running a training: recipes, hooks, logs, checks before it starts. Importing it registers what configs name."""

from . import cpu_amp, extra_sampler, hooks  # noqa: F401

"""Trainings and tests that are done once: the demo, the benchmarks of recipes."""

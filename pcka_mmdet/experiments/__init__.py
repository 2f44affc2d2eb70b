"""Trainings and tests that run once and can be continued: the demo, the benchmarks of recipes."""

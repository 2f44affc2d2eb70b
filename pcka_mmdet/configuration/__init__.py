"""Configs: the detectors that they name, recipes, data sets."""

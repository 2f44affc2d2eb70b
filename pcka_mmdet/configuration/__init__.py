"""Configs: the detectors that they name, data sets."""

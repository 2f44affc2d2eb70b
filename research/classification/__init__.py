"""Classifiers of few labelled digits."""

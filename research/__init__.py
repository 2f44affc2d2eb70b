"""Experiments with the product, their settings and results. Nothing in the product imports this folder."""

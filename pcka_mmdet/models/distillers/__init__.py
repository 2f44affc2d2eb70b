"""Distillers: they pair levels of student and teacher, and apply losses to the pairs."""

"""Queues of trainings and tests: finished ones are skipped, interrupted ones continue, several run at once."""

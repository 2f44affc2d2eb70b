"""Benchmarks of time and memory, and rival implementations."""

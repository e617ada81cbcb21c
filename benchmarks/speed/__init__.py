"""Measurements of speed and memory: parts of `python -m benchmarks`, and commands of their own."""

"""The state of a run's output."""

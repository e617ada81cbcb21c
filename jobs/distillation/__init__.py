"""Distillation: a run's maps teach a network to give them in one pass."""

"""Measurements; each file is a command that prints its figures with the hardware and the versions."""

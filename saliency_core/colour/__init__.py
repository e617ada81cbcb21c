"""Colour spaces, and the few colours of an image."""

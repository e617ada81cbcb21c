"""Superpixels and statistics over them."""

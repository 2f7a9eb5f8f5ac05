"""Sweep: a search over the selection's settings."""

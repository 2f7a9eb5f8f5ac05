"""Sweeps: a search over the selection's settings."""

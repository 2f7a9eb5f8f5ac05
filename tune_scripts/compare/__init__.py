"""Comparisons: methods on tasks over seeds."""

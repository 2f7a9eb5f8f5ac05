"""Comparison of methods on tasks over seeds."""

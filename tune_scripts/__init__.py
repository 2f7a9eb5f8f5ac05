"""Experiments on settings files: comparisons, sweeps, examinations and their publishing."""

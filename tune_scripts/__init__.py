"""Experiments as Ray Tune sweeps over settings files."""

"""Examinations: what the selection did in saved checkpoints."""

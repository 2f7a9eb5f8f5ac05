"""Examination of the selection in saved checkpoints."""

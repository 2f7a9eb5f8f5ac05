"""The physical cameras."""

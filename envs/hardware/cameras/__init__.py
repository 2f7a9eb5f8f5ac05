"""Physical cameras."""

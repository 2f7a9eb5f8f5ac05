"""Report of one run."""

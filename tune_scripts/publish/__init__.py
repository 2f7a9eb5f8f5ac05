"""Publishing of comparisons: the files that are committed."""

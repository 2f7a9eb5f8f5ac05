"""Published results: what is committed of comparisons."""

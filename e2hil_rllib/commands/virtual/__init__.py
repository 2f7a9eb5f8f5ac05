"""`e2hil virtual`: an SO101 without an SO101."""

"""What the commands of `e2hil` do."""

"""The command line: arguments, help and errors of `e2hil`."""

"""`python -m e2hil_rllib` is the `e2hil` command."""

from e2hil_rllib.cli import main

main()

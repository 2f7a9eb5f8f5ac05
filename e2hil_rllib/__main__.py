"""`python -m e2hil_rllib` is the `e2hil` command."""

from e2hil_rllib.commands.cli.app import main

main()

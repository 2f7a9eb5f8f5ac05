"""``python -m tune_scripts.examine``."""

from tune_scripts.examine.command import app

app()

"""``python -m tune_scripts.compare``."""

from tune_scripts.compare.command import app

app()

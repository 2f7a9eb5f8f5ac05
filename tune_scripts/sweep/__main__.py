"""``python -m tune_scripts.sweep``."""

from tune_scripts.sweep.command import app

app()

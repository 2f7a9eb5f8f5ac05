"""``python -m tune_scripts.publish``."""

from tune_scripts.publish.command import app

app()

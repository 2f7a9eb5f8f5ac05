"""The commands that move, set up or watch an arm."""

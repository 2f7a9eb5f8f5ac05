"""A success classifier: tells from camera frames whether the task is done, and rewards it."""

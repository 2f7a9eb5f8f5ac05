"""The learner's end: the server that robots connect to, and the inbox of what they send."""

"""Messages between a learner and its robots: what both ends send, check and keep."""

PROTOCOL = 2
"""Version of the conversation; both ends say theirs, and only equal ones talk."""

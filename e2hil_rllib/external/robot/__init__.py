"""The robot's end: the process next to the arm, which acts, records and delivers."""

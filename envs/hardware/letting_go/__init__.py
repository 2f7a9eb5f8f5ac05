"""Safe release of an arm, however the program that holds it ends."""

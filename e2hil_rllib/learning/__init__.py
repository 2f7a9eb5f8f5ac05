"""Learning: the learner, its module, and the limits of its updates."""

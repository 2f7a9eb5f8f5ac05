"""The connector between a learner and an environment that runs in a process of its own."""

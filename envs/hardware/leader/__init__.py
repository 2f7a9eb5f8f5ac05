"""Leader arm: it mirrors the follower until a hand takes it."""

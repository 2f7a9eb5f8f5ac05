"""Everything that has weights: encoders, the frozen trunk, actor and critics."""

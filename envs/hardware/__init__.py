"""The physical SO101: the bus of its servos, its cameras, and virtual ones to try both without."""

"""The physical SO101: the bus of its servos, its two arms and its cameras."""

"""The simulated world: an SO101, cubes on a table, and rendered cameras, in MuJoCo."""

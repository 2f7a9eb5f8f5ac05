"""Simulation in MuJoCo: an SO101, cubes on a table, and rendered cameras."""

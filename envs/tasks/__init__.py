"""The tasks, by the name that the environments' entry point takes."""

from envs.tasks.base import SimulatedTask, Subgoal
from envs.tasks.touch_cube import TouchCube

TASKS: dict[str, type[SimulatedTask]] = {
    "touch_cube": TouchCube,
}
"""Task classes by name."""

__all__ = ["TASKS", "SimulatedTask", "Subgoal", "TouchCube"]

"""Tasks by the name that the environments' entry point takes."""

from envs.tasks.base import SimulatedTask, Subgoal
from envs.tasks.pick_cube import PickCube
from envs.tasks.pick_place_cube import PickPlaceCube
from envs.tasks.push_cube import PushCube
from envs.tasks.stack_blocks import StackBlocks
from envs.tasks.touch_cube import TouchCube

TASKS: dict[str, type[SimulatedTask]] = {
    "touch_cube": TouchCube,
    "pick_cube": PickCube,
    "pick_place_cube": PickPlaceCube,
    "push_cube": PushCube,
    "stack_blocks": StackBlocks,
}
"""Task classes by name."""

__all__ = [
    "TASKS",
    "PickCube",
    "PickPlaceCube",
    "PushCube",
    "SimulatedTask",
    "StackBlocks",
    "Subgoal",
    "TouchCube",
]

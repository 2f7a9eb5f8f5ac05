"""Entry point of the registered environments: an environment from keyword arguments."""

import inspect
from dataclasses import fields
from typing import Any

import gymnasium

from envs.cropped_cameras import CroppedCameras
from envs.operators import InterventionWrapper, Person, PersonSettings
from envs.options import mapping, number, one_of, refuse_unknown
from envs.sim.arm import SimulatedArm
from envs.sim.cameras import CAMERAS, RenderedCameras
from envs.sim.randomization import Randomization
from envs.sim.scene import Scene
from envs.so101 import SO101Env
from envs.tasks import TASKS
from envs.views import camera_views
from envs.workspace import Workspace


def make_simulated(
    task: str,
    *,
    cameras: Any = (),
    reward: str = "sparse",
    control_hz: float = 10.0,
    step_size: float = 0.02,
    workspace: Any = None,
    operator: Any = None,
    randomize: Any = None,
    **task_options: Any,
) -> gymnasium.Env:
    """Make a simulated SO101 with one of the tasks; ``gymnasium.make`` calls it.

    Args:
        task: One of ``envs.tasks.TASKS``; the registration sets it.
        cameras: List of "front", "wrist" or both, or a mapping of these names to their views:
            ``{"front": {"resolution": [640, 480], "crop": {"left": 160, "top": 120, "width": 320,
            "height": 320}, "size": 128}}``, see ``envs.views.CameraView``. Without cameras, the
            observation holds the task's objects.
        reward: Kind of reward: "sparse", "dense", or "external" if a judge outside of the
            environment decides.
        control_hz: Control steps per second [Hz].
        step_size: Largest step of the TCP along each axis [m].
        workspace: Box for the TCP's command, ``{"x": [low, high], "y": …, "z": …}`` [m]; axes left
            out keep their defaults.
        operator: Fields of ``PersonSettings`` for a simulated person who takes over; None for none.
        randomize: Strengths from 0 to 1 of ``envs.sim.randomization.Randomization`` by which light,
            colours, camera_pose, cube_size and friction vary at each reset; None for none.
        **task_options: Options of the task's class.

    Raises:
        TypeError: If an option is unknown (the nearest valid names are given) or no mapping.
        ValueError: If the value of an option is not valid.
    """
    task_class = TASKS[one_of("task", task, TASKS)]
    own = inspect.signature(make_simulated).parameters
    shared = {name for name in own if name not in ("task", "task_options")}
    own_options = set(inspect.signature(task_class).parameters) - {"scene", "workspace"}
    refuse_unknown(task_options, shared | own_options, f"the {task} environment")
    box = Workspace() if workspace is None else Workspace.from_options(workspace)
    period = 1.0 / number("control_hz", control_hz, 1.0, 50.0)
    varied = None if randomize is None else Randomization.from_options(randomize)
    scene = Scene(task_class.num_cubes, period, box, task_class.has_marker, varied)
    env: gymnasium.Env = SO101Env(
        SimulatedArm(scene),
        _make_cameras(scene, cameras),
        task_class(scene, box, **task_options),
        workspace=box,
        control_hz=control_hz,
        step_size=step_size,
        reward=reward,
    )
    if operator is not None:
        env = InterventionWrapper(env, Person(_person_settings(operator)))
    return env


def _make_cameras(scene: Scene, options: Any) -> CroppedCameras | None:
    views = camera_views(options)
    if not views:
        return None
    for name in views:
        one_of("cameras", name, CAMERAS)
    resolutions = {name: view.resolution for name, view in views.items()}
    return CroppedCameras(RenderedCameras(scene, resolutions), views)


def _person_settings(options: Any) -> PersonSettings:
    values = mapping("operator", options)
    refuse_unknown(values, {field.name for field in fields(PersonSettings)}, "operator")
    return PersonSettings(**values)

"""Domain randomisation: a world that looks and behaves a little differently in every episode.

A policy trained on one rendering fails with a real camera; for one trained on many, reality is one
more variation (Tobin et al. 2017, arXiv:1703.06907; for physics: Peng et al. 2018,
arXiv:1710.06537).
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import mujoco
import numpy as np

from envs.options import mapping, number, refuse_unknown

BRIGHTNESS = 0.4
"""Largest relative change of the brightness of the headlight and of the lamp."""

TINT = 0.15
"""Largest relative change of each colour channel of all light."""

LAMP_TILT = math.radians(45.0)
"""Largest turn of the lamp's direction [rad]."""

COLOUR_SHIFT = 0.2
"""Largest change of each colour channel (of 0 to 1) of a material."""

GREY_SHIFT = 0.3
"""Largest further change of all channels together, for the table and the wall behind the arm."""

CAMERA_OFFSET = 0.02
"""Largest displacement of a camera along each axis of its mount [m]."""

CAMERA_TILT = math.radians(5.0)
"""Largest turn of a camera, about any axis [rad]."""

EDGE_CHANGE = 0.2
"""Largest relative change of a cube's edge."""

FRICTION_FACTOR = 2.0
"""Largest factor by which friction is multiplied or divided."""

# Fields of the model that are drawn; the rest follows from them.
_FIELDS = (
    *("light_diffuse", "light_dir", "geom_rgba", "cam_pos", "cam_quat"),
    *("geom_size", "geom_friction", "body_mass", "body_inertia"),
)
_BACKGROUND = ("table", "wall")


@dataclass(frozen=True)
class Randomization:
    """Strengths of the variations, each from 0 (none) to 1; draws are uniform.

    Attributes:
        light: Strength for light: brightness of headlight and lamp, each ±40 %; tint of all light,
            ±15 % per channel; direction of the lamp, up to 45°.
        colours: Strength for colours: each channel (of 0 to 1) of each material by ±0.2, so that a
            red cube stays reddish; the table, and a wall half a metre behind the arm, also by ±0.3
            from dark to light. The wall exists only if this is not 0.
        camera_pose: Strength for camera poses: each camera by ±20 mm along each axis of its mount,
            and up to 5° about any axis.
        cube_size: Strength for cube sizes: edge of each cube ±20 %, at constant density.
        friction: Strength for friction: of the jaws, and of table and cubes, halved to doubled.
    """

    light: float = 0.0
    colours: float = 0.0
    camera_pose: float = 0.0
    cube_size: float = 0.0
    friction: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            number(f"randomize.{field.name}", getattr(self, field.name), 0.0, 1.0)

    @classmethod
    def from_options(cls, options: Any) -> "Randomization":
        """Build a randomisation from a mapping of strengths; missing ones are 0.

        Raises:
            TypeError: If the options are no mapping, or one is unknown.
            ValueError: If a strength is no number from 0 to 1.
        """
        strengths = mapping("randomize", options)
        refuse_unknown(strengths, {field.name for field in fields(cls)}, "randomize")
        return cls(**strengths)


class Randomizer:
    """Randomiser that draws worlds around the nominal one, each independent of the one before.

    Every kind of variation has random numbers of its own, so that a strength changes only its own
    kind. The draws do not advance the given generator: episodes start as in the nominal world.

    Args:
        model: Nominal model, which the draws change.
        strengths: Strengths of the variations.
    """

    def __init__(self, model: mujoco.MjModel, strengths: Randomization) -> None:
        self._model = model
        self._strengths = strengths
        self._scratch = mujoco.MjData(model)
        self._nominal = {name: getattr(model, name).copy() for name in _FIELDS}
        headlight = model.vis.headlight
        self._ambient, self._diffuse = headlight.ambient.copy(), headlight.diffuse.copy()
        names = [model.geom(geom).name for geom in range(model.ngeom)]
        self._cubes = [geom for geom, name in enumerate(names) if name.startswith("cube_")]
        self._is_jaw = np.array(["jaw" in name for name in names])
        # Parts of the same colour are of the same material, and keep a common colour.
        _, material = np.unique(model.geom_rgba, axis=0, return_inverse=True)
        self._material = material.reshape(-1)  # a column in NumPy 2.0
        self._is_background = np.array([name in _BACKGROUND for name in names])

    def draw(self, rng: np.random.Generator) -> None:
        """Draw a world.

        Args:
            rng: Random generator whose next child is used.
        """
        for name, values in self._nominal.items():
            getattr(self._model, name)[:] = values
        # Grandchildren: a child of the environment's seed may be in use elsewhere.
        light, colours, camera_pose, cube_size, friction = rng.spawn(1)[0].spawn(5)
        self._draw_light(light)
        self._draw_colours(colours)
        self._draw_camera_poses(camera_pose)
        self._draw_cube_sizes(cube_size)
        self._draw_friction(friction)
        # Bounding boxes, inverse weights and the like follow from the drawn fields.
        mujoco.mj_setConst(self._model, self._scratch)

    def _draw_light(self, rng: np.random.Generator) -> None:
        strength, headlight = self._strengths.light, self._model.vis.headlight
        head, lamp = 1.0 + strength * BRIGHTNESS * rng.uniform(-1.0, 1.0, 2)
        tint = 1.0 + strength * TINT * rng.uniform(-1.0, 1.0, 3)
        headlight.ambient[:] = self._ambient * head * tint
        headlight.diffuse[:] = self._diffuse * head * tint
        self._model.light_diffuse[:] *= lamp * tint
        for direction in self._model.light_dir:
            mujoco.mju_rotVecQuat(direction, direction.copy(), _turn(rng, strength * LAMP_TILT))

    def _draw_colours(self, rng: np.random.Generator) -> None:
        count = self._material.max() + 1
        shifts = COLOUR_SHIFT * rng.uniform(-1.0, 1.0, (count, 3))[self._material]
        greys = GREY_SHIFT * rng.uniform(-1.0, 1.0, (count, 1))[self._material]
        shifts += np.where(self._is_background[:, np.newaxis], greys, 0.0)
        colours = self._model.geom_rgba[:, :3] + self._strengths.colours * shifts
        self._model.geom_rgba[:, :3] = np.clip(colours, 0.0, 1.0)

    def _draw_camera_poses(self, rng: np.random.Generator) -> None:
        strength = self._strengths.camera_pose
        for position, rotation in zip(self._model.cam_pos, self._model.cam_quat, strict=True):
            position += strength * CAMERA_OFFSET * rng.uniform(-1.0, 1.0, 3)
            mujoco.mju_mulQuat(rotation, rotation.copy(), _turn(rng, strength * CAMERA_TILT))

    def _draw_cube_sizes(self, rng: np.random.Generator) -> None:
        model = self._model
        for geom in self._cubes:
            scale = 1.0 + self._strengths.cube_size * EDGE_CHANGE * rng.uniform(-1.0, 1.0)
            body = model.geom_bodyid[geom]
            model.geom_size[geom] *= scale
            model.body_mass[body] *= scale**3
            model.body_inertia[body] *= scale**5

    def _draw_friction(self, rng: np.random.Generator) -> None:
        exponents = self._strengths.friction * rng.uniform(-1.0, 1.0, 2)
        jaws, others = FRICTION_FACTOR**exponents
        self._model.geom_friction[:] *= np.where(self._is_jaw, jaws, others)[:, np.newaxis]


def _turn(rng: np.random.Generator, largest: float) -> np.ndarray:
    """Draw a turn of at most an angle [rad] about any axis, as a quaternion of shape (4,)."""
    axis, angle = rng.standard_normal(3), largest * rng.uniform()
    quaternion = np.zeros(4)
    mujoco.mju_axisAngle2Quat(quaternion, axis / np.linalg.norm(axis), angle)
    return quaternion

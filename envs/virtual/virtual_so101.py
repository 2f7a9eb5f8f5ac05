"""Virtual SO101: follower and leader, each on a serial port that any program can open."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from envs.closing import Closing
from envs.hardware.bus.registers import TICKS_PER_TURN
from envs.hardware.bus.telemetry import RADIANS_PER_TICK
from envs.hardware.setup.calibration import MIDDLE, Calibration, MotorCalibration
from envs.kinematics import JOINTS
from envs.sim.scene import Scene
from envs.virtual.mujoco_plant import FOLLOWER_GEARS, LEADER_GEARS, REST, MujocoPlant
from envs.virtual.plant import Drive, JointState, Plant
from envs.virtual.virtual_cameras import VirtualCameras
from envs.virtual.virtual_chain import VirtualChain
from envs.virtual.virtual_pedal import VirtualPedal
from envs.virtual.virtual_port import VirtualPort
from envs.workspace import Workspace

_BAUDRATE = 1_000_000
_NUM_CUBES = 1
_CUBE = (0.24, 0.06, 0.0)  # x, y [m] and yaw [rad]: in reach, away from the resting arm
# The usual settings of a follower's gripper, which burns out when it stalls at full torque.
_GRIPPER = {"Max_Torque_Limit": 500, "Protection_Current": 250, "Overload_Torque": 25}


class VirtualFolderError(RuntimeError):
    """The folder for a virtual SO101 is in use, or holds other files of these names."""


def virtual_calibration(scene: Scene) -> Calibration:
    """Return the calibration of an arm whose encoders read 2047 in the model's zero pose.

    Each range is the model's, except for the wrist that turns freely, which has the whole turn.
    """
    lowest, highest = scene.model.jnt_range[: len(JOINTS)].T.copy()
    motors = {}
    for place, name in enumerate(JOINTS):
        ends = [MIDDLE + round(limit[place] / RADIANS_PER_TICK) for limit in (lowest, highest)]
        if name == "wrist_roll":
            ends = [0, TICKS_PER_TURN - 1]
        motors[name] = MotorCalibration(place + 1, 0, 0, *ends)
    return Calibration(motors, (lowest, highest), "the virtual calibration")


class PacedPlant:
    """Plant that counts where another plant does not keep up with real time.

    Attributes:
        steps: Number of steps so far.
        overruns: Number of steps that took longer than the time that they simulate.
        simulated: Time that has passed for the plant [s].
    """

    def __init__(self, plant: Plant, clock: Callable[[], float] = time.monotonic):
        self.steps = self.overruns = 0
        self.simulated = 0.0
        self._plant, self._clock = plant, clock
        self._began = self._ended = 0.0

    @property
    def behind(self) -> float:
        """Real time that the plant has missed, as during a stall of the machine [s]."""
        return max(0.0, self._ended - self._began - self.simulated)

    def step(self, dt: float, drives: Mapping[int, Drive]) -> None:
        """Advance time [s]."""
        start = self._clock()
        if self.steps == 0:
            self._began = start - dt
        self._plant.step(dt, drives)
        self._ended = start
        self.steps += 1
        self.overruns += self._clock() - start > dt
        self.simulated += dt

    def state(self, joint: int) -> JointState:
        """Return the current state of a joint."""
        return self._plant.state(joint)


@dataclass(frozen=True)
class VirtualArm:
    """Virtual arm with its serial port.

    Attributes:
        port: Port of the servos; all access to servos and plant goes through its ``call``.
        plant: Joints, with the hand that can hold them.
        pace: Counters of the plant's real-time overruns.
        calibration: Calibration in the servos' EEPROM.
        link: Port to open, in the folder of the virtual SO101.
        calibration_file: Calibration as LeRobot writes it, in the same folder.
    """

    port: VirtualPort
    plant: MujocoPlant
    pace: PacedPlant
    calibration: Calibration
    link: Path
    calibration_file: Path

    def hold(self, joint: str, angle: float, speed: float = 2.0) -> None:
        """Move a joint by hand to an angle [rad] at a speed [rad/s], and hold it there.

        Raises:
            ValueError: If there is no such joint, or the angle is out of its limits.
        """
        place = JOINTS.index(joint)
        self.port.call(lambda: self.plant.hold(place, angle, speed))

    def release(self, joint: str) -> None:
        """Take the hand off a joint."""
        place = JOINTS.index(joint)
        self.port.call(lambda: self.plant.release(place))


class VirtualSO101(Closing):
    """Two virtual arms in real time, calibrated, at rest and without torque at first.

    The follower has a table with a cube in front of it, the leader an empty one. Each arm runs in a
    thread of its own.

    Attributes:
        follower: Arm that works.
        leader: Arm that a hand moves.
        cameras: Cameras of the follower's table; None if they were not requested.
        scene: Follower and its table, to be used in the thread of the follower's port only.
        pedal: Foot pedal of the person at the arms.
        pedal_link: Terminal to open for the pedal.
    """

    def __init__(self, folder: Path, cameras: bool = False):
        """Start both arms.

        Args:
            folder: Folder for ``follower``, ``leader`` and ``pedal``, links to the ports, and for
                ``follower.json`` and ``leader.json``, the calibrations, until the arms are closed;
                made if missing.
            cameras: Whether to serve the simulation's cameras.

        Raises:
            VirtualFolderError: If the folder holds another virtual SO101, or other files of these
                names.
            RuntimeError: If cameras are requested and OpenGL is missing.
        """
        self.cameras: VirtualCameras | None = None
        with contextlib.ExitStack() as stack:
            if not folder.exists():
                folder.mkdir(parents=True)
                stack.callback(_remove_if_empty, folder)
            scene = _scene(_NUM_CUBES)
            self.scene = scene
            self.follower = _start(stack, folder, "follower", scene, FOLLOWER_GEARS)
            self.leader = _start(stack, folder, "leader", _scene(0), LEADER_GEARS)
            self.pedal_link = folder / "pedal"
            self.pedal = _start_pedal(stack, self.pedal_link)
            if cameras:
                pose = self.follower.port.call
                self.cameras = VirtualCameras(
                    _scene(_NUM_CUBES), lambda: pose(lambda: np.array(scene.data.qpos))
                )
                stack.callback(self.cameras.close)
            self._exit = stack.pop_all()

    def check(self) -> None:
        """Check that both arms run.

        Raises:
            RuntimeError: If one has failed; its port is then gone.
        """
        for arm in (self.follower, self.leader):
            arm.port.call(lambda: None)

    def close(self) -> None:
        """Switch everything off and remove the created files; harmless the second time."""
        self._exit.close()


def _scene(num_cubes: int) -> Scene:
    """Return a scene for a plant, which steps the model itself."""
    scene = Scene(num_cubes, control_period=0.002, workspace=Workspace())
    for index in range(num_cubes):
        scene.place_cube(index, *_CUBE)
    scene.refresh()
    return scene


def _start(
    stack: contextlib.ExitStack, folder: Path, name: str, scene: Scene, gears: Sequence[float]
) -> VirtualArm:
    """Start one arm, and push its shutdown onto the stack."""
    link, file = folder / name, folder / f"{name}.json"
    calibration = virtual_calibration(scene)
    _refuse_occupied(link)
    _save(calibration, file)
    stack.callback(file.unlink, missing_ok=True)
    plant = MujocoPlant(scene, REST, gears)
    pace = PacedPlant(plant)
    chain = VirtualChain(calibration.ids, pace)
    _calibrate(chain, calibration, gripper=_GRIPPER if name == "follower" else {})
    port = stack.enter_context(VirtualPort(chain, _BAUDRATE))
    _link(stack, link, port.path)
    return VirtualArm(port, plant, pace, calibration, link, file)


def _start_pedal(stack: contextlib.ExitStack, link: Path) -> VirtualPedal:
    _refuse_occupied(link)
    pedal = stack.enter_context(VirtualPedal())
    _link(stack, link, pedal.path)
    return pedal


def _link(stack: contextlib.ExitStack, link: Path, path: str) -> None:
    link.unlink(missing_ok=True)  # one that a killed process has left
    link.symlink_to(path)
    stack.callback(link.unlink, missing_ok=True)


def _calibrate(chain: VirtualChain, calibration: Calibration, gripper: Mapping[str, int]) -> None:
    """Fill the servos' EEPROM, and switch them off and on."""
    for name, motor in calibration.motors.items():
        servo = chain.servo(motor.id)
        servo.set("Homing_Offset", motor.homing_offset)
        servo.set("Min_Position_Limit", motor.range_min)
        servo.set("Max_Position_Limit", motor.range_max)
        for register, value in gripper.items() if name == "gripper" else ():
            servo.set(register, value)
        servo.power_cycle()


def _refuse_occupied(link: Path) -> None:
    """Refuse a path that is not a dead link of an earlier virtual SO101."""
    if link.exists():
        what = "another virtual SO101 serves" if link.is_symlink() else "there is a file in"
        raise VirtualFolderError(
            f"{what} {link}: stop it or choose another folder, as in --dir other"
        )


def _save(calibration: Calibration, file: Path) -> None:
    """Write a calibration, but never over that of a real arm."""
    if not file.exists():
        calibration.save(file)
        return
    beside = file.with_name(f".{file.name}.virtual")
    calibration.save(beside)
    same = beside.read_bytes() == file.read_bytes()
    beside.unlink()
    if not same:
        raise VirtualFolderError(
            f"{file} is not the virtual arm's calibration and would be overwritten: move it away "
            "or choose another folder, as in --dir other"
        )


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()

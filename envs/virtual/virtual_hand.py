"""Virtual hand that leads the virtual leader arm and presses keys, as a person does."""

import os
import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.kinematics import JOINTS, Kinematics
from envs.operators.keys import KEYS, KeyEvent
from envs.options import number
from envs.virtual.virtual_so101 import VirtualArm
from envs.workspace import Workspace

PERIOD = 0.02
"""Period at which a hand has to be stepped [s]."""
SPEED = 0.15
"""Default speed of the TCP [m/s]."""

_FASTEST = 0.6  # [m/s]
_FASTEST_JOINT = 2.0  # [rad/s]
_SLOWEST_JOINT = 0.2  # least speed of a hold, which would never arrive at speed 0 [rad/s]
_PEAK = 1.875  # peak speed of a minimum-jerk movement, relative to its mean
_SAMPLES = 50  # samples of a movement
_FADING = 0.5  # time constant at which a pose approaches the inverse kinematics' [s]
_SETTLING = 0.15  # time until the arm has arrived with the hand [s]
_REACHED = 0.001  # [m]
_SPEEDS = (0.05, 0.25)  # speeds while wandering [m/s]
_RESTS = (0.0, 0.8)  # rests between two movements while wandering [s]
_GRIPPER_CHANCE = 0.4  # probability that a movement while wandering moves the gripper


class VirtualHand:
    """Hand that holds a leader's joints and moves its TCP smoothly along straight lines.

    Movements have minimum jerk (Flash and Hogan, 1985). Only one thread may use a hand; the
    leader's own thread is reached through its port. All random draws come from one seed, and time
    from one clock.

    Args:
        leader: Arm to lead.
        seed: Seed of all random draws.
        workspace: Box to wander in.
        clock: Function that returns the time [s].
        sleep: Function that waits for a number of seconds of the same clock.
    """

    def __init__(
        self,
        leader: VirtualArm,
        seed: int = 0,
        workspace: Workspace | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._leader, self._clock, self._sleep = leader, clock, sleep
        self._workspace = workspace or Workspace()
        self._rng = np.random.default_rng(seed)
        self._kinematics = Kinematics()
        self._path: NDArray[np.float64] | None = None
        self._joints = np.zeros(len(JOINTS))
        self._began = self._duration = self._led = 0.0
        self._offset: NDArray[np.float64] | None = None  # offset of a pose that is led by eye

    @property
    def holding(self) -> bool:
        """Whether the hand is on the leader."""
        return self._path is not None

    @property
    def joints(self) -> NDArray[np.float64]:
        """Joint angles of the leader, shape (6,) [rad]."""
        plant = self._leader.plant
        return self._leader.port.call(
            lambda: np.array([plant.state(joint).position for joint in range(len(JOINTS))])
        )

    @property
    def tcp(self) -> NDArray[np.float64]:
        """TCP of the leader, shape (3,) [m]."""
        return self._kinematics.forward(self.joints)

    def grab(self) -> None:
        """Take hold of all joints where they are; do nothing if the hand holds them already."""
        if self._path is None:
            self._joints = np.clip(self.joints, *self._kinematics.joint_limits)
            self._path = np.array([self._joints])
            self._began = self._led = self._clock()
            self._duration = 0.0
            self._hold(np.full(len(JOINTS), _SLOWEST_JOINT))

    def let_go(self) -> None:
        """Take the hand off all joints."""

        def release() -> None:
            for joint in range(len(JOINTS)):
                self._leader.plant.release(joint)

        self._leader.port.call(release)
        self._path = self._offset = None

    def aim(self, tcp: ArrayLike, gripper: float | None = None, speed: float = SPEED) -> None:
        """Begin a movement from where the hand holds the leader; ``step`` carries it out.

        Args:
            tcp: Target of the TCP, shape (3,) [m].
            gripper: Angle of the gripper at the end [rad]; None leaves it.
            speed: Peak speed of the TCP [m/s]; lower if a joint would turn faster than 2 rad/s.

        Raises:
            ValueError: If the arm cannot reach the target, or an argument is out of its range.
        """
        speed = number("speed", speed, 0.01, _FASTEST)
        lower, upper = self._kinematics.joint_limits
        if gripper is not None:
            gripper = number("gripper", gripper, float(lower[-1]), float(upper[-1]))
        goal = np.array(tcp, np.float64)
        target = self._kinematics.inverse(goal)
        if not self._reaches(goal):
            raise ValueError(f"the arm cannot get its TCP to {goal.tolist()} m")
        self.grab()
        target[-1] = self._joints[-1] if gripper is None else gripper
        start = self._kinematics.forward(self._joints)
        # The difference between the start pose and the inverse kinematics' fades out on the way.
        fading = self._joints - self._kinematics.inverse(start, target[-1])
        times = np.linspace(0.0, 1.0, _SAMPLES + 1)
        path = []
        for share in times**3 * (10.0 - 15.0 * times + 6.0 * times**2):
            pose = self._kinematics.inverse(start + share * (goal - start), target[-1])
            path.append(np.clip(pose + (1.0 - share) * fading, lower, upper))
        self._begin(np.array(path), _PEAK * float(np.linalg.norm(goal - start)) / speed)

    def lead_to(self, tcp: ArrayLike) -> None:
        """Move the TCP to a nearby point at once, or as near as the arm gets.

        Callers that lead by eye call this every ``PERIOD`` with the next point, in place of
        ``step``. No joint turns faster than 2 rad/s; the gripper stays as it is.

        Args:
            tcp: Target of the TCP, shape (3,) [m].
        """
        self.grab()
        now, gripper = self._clock(), float(self._joints[-1])
        passed = max(now - self._led, PERIOD)
        if self._offset is None:
            here = self._kinematics.forward(self._joints)
            self._offset = self._joints - self._kinematics.inverse(here, gripper)
        self._offset *= np.exp(-passed / _FADING)
        wanted = self._kinematics.inverse(tcp, gripper) + self._offset
        largest = _FASTEST_JOINT * PERIOD
        change = np.clip(wanted - self._joints, -largest, largest)
        self._joints = np.clip(self._joints + change, *self._kinematics.joint_limits)
        self._path, self._duration, self._led = np.array([self._joints]), 0.0, now
        self._hold(np.maximum(np.abs(change) / PERIOD, _SLOWEST_JOINT))

    def turn_gripper(self, angle: float) -> None:
        """Begin to turn the gripper alone to an angle [rad]; ``step`` carries it out.

        Raises:
            ValueError: If the angle is out of the gripper's range.
        """
        lower, upper = self._kinematics.joint_limits
        angle = number("gripper", angle, float(lower[-1]), float(upper[-1]))
        self.grab()
        goal = self._joints.copy()
        goal[-1] = angle
        self._begin(np.array([self._joints, goal]), 0.0)

    def step(self) -> bool:
        """Move the joints to where they should be now; return whether the movement continues."""
        if self._path is None:
            return False
        now = self._clock()
        share = 1.0 if self._duration == 0.0 else (now - self._began) / self._duration
        place = min(max(share, 0.0), 1.0) * (len(self._path) - 1)
        before = min(int(place), max(0, len(self._path) - 2))
        after = min(before + 1, len(self._path) - 1)
        wanted = self._path[before] + (place - before) * (self._path[after] - self._path[before])
        change = np.abs(wanted - self._joints)
        if change.max() > 0.0:
            speeds = np.clip(
                change / max(now - self._led, PERIOD), _SLOWEST_JOINT, 1.5 * _FASTEST_JOINT
            )
            self._joints = wanted
            self._hold(speeds)
        self._led = now
        return now < self._began + self._duration + (_SETTLING if self._duration else 0.0)

    def follow(self, tcp: ArrayLike, gripper: float | None = None, speed: float = SPEED) -> None:
        """Lead the TCP to a point, or through several, and return on arrival.

        Args:
            tcp: One target, shape (3,), or several, shape (n, 3) [m].
            gripper: As for ``aim``.
            speed: As for ``aim``.

        Raises:
            ValueError: As for ``aim``.
        """
        for point in np.atleast_2d(np.asarray(tcp, np.float64)):
            self.aim(point, gripper, speed)
            while self.step():
                self._sleep(PERIOD)

    def move_to(self, tcp: ArrayLike) -> None:
        """Lead the TCP to a point, shape (3,) [m], at the usual speed; see ``follow``."""
        self.follow(tcp)

    def wander(self) -> Iterator[NDArray[np.float64]]:
        """Move between random points of the workspace with rests in between, without end.

        The caller waits about ``PERIOD`` before each next step.

        Yields:
            The current target, shape (3,) [m].
        """
        while True:
            point, gripper = self._draw()
            self.aim(point, gripper, float(self._rng.uniform(*_SPEEDS)))
            rest = float(self._rng.uniform(*_RESTS))
            while self.step():
                yield point
            until = self._clock() + rest
            while self._clock() < until:
                yield point

    def wander_for(self, seconds: float, stop: Callable[[], bool] = lambda: False) -> None:
        """Wander for a time [s], or until ``stop`` returns True; the hand stays on the leader."""
        end = self._clock() + seconds
        for _ in self.wander():
            if self._clock() >= end or stop():
                return
            self._sleep(PERIOD)

    def press(self, event: KeyEvent, descriptor: int) -> None:
        """Press the key of an event.

        Args:
            event: Event whose key is pressed.
            descriptor: Writing end of a pipe, or the keyboard's end of a pseudo-terminal.

        Raises:
            OSError: If the reader is gone.
        """
        key = next(key for key, meaning in KEYS.items() if meaning is event)
        os.write(descriptor, key.encode())

    def _draw(self) -> tuple[NDArray[np.float64], float | None]:
        """Draw a reachable point, and an angle of the gripper if it is to change."""
        while True:
            point = self._rng.uniform(self._workspace.low, self._workspace.high)
            self._kinematics.inverse(point)
            if self._reaches(point):
                break
        moves = self._rng.random() < _GRIPPER_CHANCE
        angle = float(self._rng.uniform(0.0, 1.2))
        return point, angle if moves else None

    def _begin(self, path: NDArray[np.float64], duration: float) -> None:
        """Begin a path of joint angles, slower than wanted where a joint would be too fast."""
        largest = float(np.abs(np.diff(path, axis=0)).max())
        fastest = largest * (len(path) - 1) / _FASTEST_JOINT
        self._path, self._offset = path, None
        self._duration = max(duration, fastest, PERIOD)
        self._began = self._led = self._clock()

    def _reaches(self, point: NDArray[np.float64]) -> bool:
        found = self._kinematics.forward(self._kinematics.inverse(point))
        return bool(np.linalg.norm(found - point) < _REACHED)

    def _hold(self, speeds: NDArray[np.float64]) -> None:
        joints = self._joints.copy()

        def hold() -> None:
            for joint, angle in enumerate(joints):
                self._leader.plant.hold(joint, float(angle), float(speeds[joint]))

        self._leader.port.call(hold)

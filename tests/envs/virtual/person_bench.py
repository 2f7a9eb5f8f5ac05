"""Robot program and arms in simulated time, as a virtual person sees them from outside."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from envs.kinematics import HOME, Kinematics
from envs.operators.keys import KeyEvent
from envs.operators.person import PersonSettings
from envs.sim.scene import Scene
from envs.virtual.plant import JointState
from envs.virtual.virtual_hand import PERIOD, VirtualHand
from envs.virtual.virtual_person import VirtualPerson
from envs.workspace import Workspace, clamp

FOLDED = np.array([0.0, -1.745, 1.607, 1.194, 0.0, 0.0])
STEPS = 100
Policy = Callable[["Robot"], np.ndarray]


def idle(robot: Robot) -> np.ndarray:
    """Stay where it is."""
    return np.zeros(3)


def wrong(robot: Robot) -> np.ndarray:
    """Go up, away from every cube."""
    return np.array([0.0, 0.0, 0.5])


def straight(robot: Robot) -> np.ndarray:
    """Go to the cube."""
    return np.clip((robot.scene.cube_position(0) - robot.scene.tcp()) / 0.02, -0.7, 0.7)


class _Joints:
    """Six joints that stay where they are put; a hand wins against everything."""

    def __init__(self, angles: np.ndarray) -> None:
        self.angles, self.held = angles.copy(), False

    def state(self, joint: int) -> JointState:
        return JointState(float(self.angles[joint]))

    def hold(self, joint: int, angle: float, speed: float = 2.0) -> None:
        self.angles[joint], self.held = angle, True

    def release(self, joint: int) -> None:
        self.held = False


class Robot:
    """Program with its arms and a person; ``run`` advances time for all.

    Attributes:
        doing: "off", "homing", "waiting", "acting", "led", "paused" or "dead".
        heard: Keys that had an effect, and "home" where the arm goes back by itself.
    """

    def __init__(self, mode: str, policy: Policy = idle, seed: int = 0, **behaviour: float) -> None:
        self.now, self.policy, self.doing = 0.0, policy, "homing"
        self.scene = Scene(1, 0.002, Workspace())
        self.scene.place_cube(0, 0.24, 0.06, 0.0)
        self.follower, self.leader = _Joints(FOLDED), _Joints(FOLDED)
        self.pressed: list[KeyEvent] = []
        self.all_pressed: list[KeyEvent] = []
        self.heard: list[str] = []
        self.ends: list[bool] = []
        self.led_steps = self.steps = 0
        self.leader_follows = True
        self.start, self._time = HOME + 0.03, 0.0
        self._kinematics, self._target = Kinematics(), FOLDED.copy()
        self._anchor = np.zeros(3)
        so101: Any = SimpleNamespace(
            scene=self.scene,
            follower=self._arm(self.follower),
            leader=self._arm(self.leader),
            pedal=SimpleNamespace(press=self._press),
        )
        self._show()
        clock = lambda: self.now  # noqa: E731
        self.hand = VirtualHand(so101.leader, seed, clock=clock)
        settings = PersonSettings(burst=3.0, **behaviour) if behaviour else None
        self.person = VirtualPerson(so101, self.hand, mode, seed, settings, clock)

    @property
    def cube(self) -> np.ndarray:
        """Centre of the cube, shape (3,) [m]."""
        return self.scene.cube_position(0)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Advance time; return whether the awaited condition came true."""
        end = self.now + seconds
        while self.now < end:
            self.now += PERIOD
            self._tick()
            self._show()
            self.person.step()
            if until():
                return True
        return False

    def until_ended(self, count: int = 1, seconds: float = 30.0) -> None:
        """Advance time until a number of further episodes has ended."""
        wanted = len(self.ends) + count
        assert self.run(seconds * count, lambda: len(self.ends) >= wanted), self.heard

    def _arm(self, joints: _Joints) -> Any:
        servo = SimpleNamespace(get=lambda _: int(self.doing != "off"))
        port = SimpleNamespace(
            call=lambda action: action(), chain=SimpleNamespace(servos=[servo] * 6)
        )
        return SimpleNamespace(plant=joints, port=port)

    def _press(self, event: KeyEvent) -> None:
        self.all_pressed.append(event)
        self.pressed.append(event)

    def _show(self) -> None:
        self.scene.data.qpos[:6] = self.follower.angles
        self.scene.refresh()

    def _take(self, *events: KeyEvent) -> KeyEvent | None:
        for event in self.pressed:
            if event in events:
                self.pressed.remove(event)
                self.heard.append(event.value)
                return event
        return None

    def _tick(self) -> None:
        getattr(self, f"_{self.doing}")()
        reach = (1.0 if self.doing == "homing" else 2.0) * PERIOD
        if self.doing not in ("off", "dead", "paused", "waiting"):
            left = self._target - self.follower.angles
            largest = max(float(np.abs(left).max()), 1e-9)
            self.follower.angles += left * min(1.0, reach / largest)
        mirrors = self.leader_follows and not self.leader.held
        if mirrors and self.doing in ("waiting", "acting"):
            left = self.follower.angles - self.leader.angles
            self.leader.angles += np.clip(left, -reach / 2, reach / 2)

    def _off(self) -> None:
        """Lie where it fell."""

    def _dead(self) -> None:
        """Hold, and receive no more keys."""

    def _paused(self) -> None:
        if self._take(KeyEvent.TAKE_OVER, KeyEvent.GIVE_BACK):
            self.go_home()

    def go_home(self) -> None:
        """Begin to move to the start."""
        self.doing, self._target = "homing", self.start.copy()

    def _homing(self) -> None:
        self._target = self.start.copy()
        self.pressed.clear()
        if np.abs(self.start - self.follower.angles).max() < 0.01:
            self.doing = "waiting"

    def _waiting(self) -> None:
        said = self._take(KeyEvent.TAKE_OVER, KeyEvent.GIVE_BACK)
        if said is not None:
            self.steps, self._time = 0, self.now
            self.doing = "acting"
            if said is KeyEvent.TAKE_OVER:
                self._lead()

    def _lead(self) -> None:
        self.doing = "led"
        self._anchor = self.scene.tcp() - self.hand.tcp

    def _acting(self) -> None:
        if self._take(KeyEvent.TAKE_OVER):
            self._lead()
        self._step()

    def _led(self) -> None:
        if self._take(KeyEvent.GIVE_BACK):
            self.doing = "acting"
        self._step()

    def _step(self) -> None:
        if self.now < self._time:
            return
        self._time += 0.1
        self.steps += 1
        tcp = self._kinematics.forward(self.follower.angles)
        if self.doing == "led":
            self.led_steps += 1
            wanted = np.clip(self.hand.tcp + self._anchor - tcp, -0.02, 0.02)
        else:
            wanted = 0.02 * self.policy(self)
        goal = clamp(tcp + wanted, Workspace())
        self._target = self._kinematics.inverse(goal, float(self.follower.angles[-1]))
        succeeded = self._take(KeyEvent.SUCCESS) is not None
        if succeeded or self.steps >= STEPS:
            self.ends.append(succeeded)
            self.start = HOME + (0.03 if len(self.ends) % 2 else -0.03)
            self.go_home()

"""The one place that every command passes on its way to the bus."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from envs.kinematics import JOINTS, Kinematics
from envs.safety_faults import ArmReading, ServoFaults, Sustained, unusable
from envs.safety_limits import SafetyLimits
from envs.workspace import Workspace, clamp

__all__ = ["ArmReading", "Decision", "SafetyLayer", "SafetyLimits", "Verdict"]

FloatArray = NDArray[np.float64]

_BODY, _GRIPPER = np.s_[:-1], len(JOINTS) - 1
# The way between two targets is looked at this often [rad]; in between the TCP's arc rises less
# than 0.4 mm over its chord (0.45 m of reach, four joints that turn at once).
_WAY_RESOLUTION = 0.02


class Verdict(StrEnum):
    """What to do with the arm now."""

    SEND = "send"
    """Send the targets."""
    HOLD = "hold"
    """Stand still, with torque: send the targets if there are any, and nothing else."""
    RELEASE = "release"
    """Switch the torque off."""


@dataclass(frozen=True)
class Decision:
    """What may be sent to the arm.

    Attributes:
        verdict: What to do.
        targets: Joint targets that may be sent, shape (6,) [rad]; None where nothing may be: on
            release, and before the first reading.
        reason: Why the arm is held or released, naming the joint at fault where one is.
        limited: What cut the wanted targets short: "joints", "lead", "speed", "workspace", "grip".
    """

    verdict: Verdict
    targets: FloatArray | None
    reason: str = ""
    limited: tuple[str, ...] = ()


class SafetyLayer:
    """Cuts joint targets down to what is safe, or says that the arm must hold or be released.

    Every target it gives out is within the joint limits; within the workspace, the straight way of
    the joints from the target before included; and no further from the target before than the
    largest step and the largest speed allow. The first target after ``connect`` is where the arm
    is. An arm that is outside of a limit then (at rest it may be) only ever comes nearer to its
    joint limits, and moves, at ``first_speed`` and not below the box's floor, only on the way to
    targets inside of the box.

    Holds because of a reading or a command end when the next one is sound; holds and releases
    because of temperature, voltage or load last until ``acknowledge``. All go on slowly.

    Time is passed in: any monotonic clock [s], the same for commands and readings. Not thread-safe.

    Args:
        limits: What the arm is held to.

    Raises:
        ValueError: If the limits of a joint are no range within what it can do.
    """

    def __init__(self, limits: SafetyLimits | None = None) -> None:
        self.limits = limits or SafetyLimits()
        self._kinematics = Kinematics()
        self._range = self._kinematics.joint_limits
        self._low, self._high = self.limits.joint_limits(*self._range)
        self._faults = ServoFaults(self.limits)
        self._stalled = Sustained(self.limits.grip_time)
        self._now = -np.inf
        self._fault: tuple[Verdict, str] | None = None
        self.connect()

    @property
    def fault(self) -> str:
        """Why the arm is held or released until ``acknowledge``, "" where it is not."""
        return "" if self._fault is None else self._fault[1]

    def connect(self) -> None:
        """Forget everything: the arm was just connected, or its torque was off.

        The next command starts from where the arm is then.
        """
        self._targets: FloatArray | None = None
        self._sent_at = -np.inf
        self._grip: tuple[float, bool] | None = None  # bound of its target, and whether it closes
        self._commanded_at: float | None = None
        self.acknowledge()

    def handover(self) -> None:
        """Move slowly at first: someone else gives the commands from now on."""
        self._ramp_start: float | None = None

    def acknowledge(self) -> None:
        """End a hold or a release because of temperature, voltage or load."""
        if self._fault is not None and self._fault[0] is Verdict.RELEASE:
            self._targets = None  # it fell from there
        self._fault = None
        self._faults.reset()
        self._stalled.reset()
        self.handover()

    def decide(self, wanted: ArrayLike, telemetry: ArmReading | None, now: float) -> Decision:
        """Return what may be sent for a command.

        Args:
            wanted: Joint targets, shape (6,) [rad].
            telemetry: The newest reading, None where there is none.
            now: The present time [s].

        Raises:
            ValueError: If the targets have another shape.
        """
        goal = np.array(wanted, dtype=np.float64)
        if goal.shape != (len(JOINTS),):
            raise ValueError(f"joint targets must have shape (6,), got shape {goal.shape}")
        self._now = max(now, self._now)
        if self._silence() > self.limits.command_timeout:
            self.handover()
        self._commanded_at = self._now
        held = self._checked(telemetry)
        if held is not None:
            return held
        assert telemetry is not None
        finite = np.isfinite(goal)
        if not finite.all():
            return self._hold(
                f"the target of {JOINTS[int(finite.argmin())]} is not finite: look for what made "
                "it so (a diverged policy, a broken leader arm)"
            )
        return self._send(goal, telemetry.positions)

    def watch(self, telemetry: ArmReading | None, now: float) -> Decision:
        """Return what to do while no command comes: call it as often as the arm is read.

        Args:
            telemetry: The newest reading, None where there is none.
            now: The present time [s].

        Returns:
            The targets given out last, or a hold or release.
        """
        self._now = max(now, self._now)
        held = self._checked(telemetry)
        if held is not None:
            return held
        if self._targets is None:
            return self._hold("no command has been carried out yet")
        if self._silence() > self.limits.command_timeout:
            return self._hold(
                f"no command for {self._silence():.2f} s, expected one every "
                f"{self.limits.command_timeout:g} s at least: check the program that sends them"
            )
        return Decision(Verdict.SEND, self._standing())

    def _silence(self) -> float:
        """Return how long no command has come [s]."""
        return np.inf if self._commanded_at is None else self._now - self._commanded_at

    def _checked(self, telemetry: ArmReading | None) -> Decision | None:
        """Return a hold or release because of a reading or a fault, None where all is well."""
        problem = unusable(telemetry, self._now, self.limits, *self._range)
        if telemetry is not None and not problem:
            for reaction, reason in self._faults.update(telemetry):
                if self._fault is None or (self._fault[0], reaction) == ("hold", "release"):
                    self._fault = (Verdict(reaction), reason)
            self._watch_grip(telemetry)
        if self._fault is not None:
            verdict, reason = self._fault
            if verdict is Verdict.RELEASE:
                return Decision(verdict, None, reason)
            return self._hold(reason)
        return self._hold(problem) if problem else None

    def _hold(self, reason: str) -> Decision:
        self.handover()
        targets, self._sent_at = self._standing(), self._now
        return Decision(Verdict.HOLD, targets, reason)

    def _standing(self) -> FloatArray | None:
        """Return the last targets; only a gripper that presses too hard still moves."""
        if self._targets is None:
            return None
        step = self._largest_step(self.limits.first_speed)
        gripper = float(self._targets[_GRIPPER])
        change = float(np.clip(self._within_grip(gripper) - gripper, -step, step))
        if change:
            self._targets[_GRIPPER] += change
            self._sent_at = self._now
        return self._targets.copy()

    def _watch_grip(self, telemetry: ArmReading) -> None:
        """Loosen a gripper that has pressed too hard for too long, without opening it.

        It comes about in whatever state the arm is: a gripper burns out in a hold as well.
        """
        pressing = np.abs(telemetry.currents) > self.limits.grip_current
        stalled = self._stalled.update(pressing, telemetry.time)[_GRIPPER]
        if not stalled or self._targets is None:
            return
        measured = float(telemetry.positions[_GRIPPER])
        lead = float(self._targets[_GRIPPER]) - measured
        bound = np.clip(
            measured + self.limits.grip_relief * lead, self._low[_GRIPPER], self._high[_GRIPPER]
        )
        self._grip = (float(bound), lead < 0.0)
        self._stalled.reset()

    def _within_grip(self, gripper: float) -> float:
        if self._grip is None:
            return gripper
        bound, closes = self._grip
        return max(gripper, bound) if closes else min(gripper, bound)

    def _largest_step(self, speed: float) -> float:
        return min(self.limits.max_step, speed * max(0.0, self._now - self._sent_at))

    def _speed(self) -> float:
        """Return the largest speed allowed now [rad/s]; a ramp starts with no motion at all."""
        if self._ramp_start is None:
            self._ramp_start = self._sent_at = self._now
        share = min(1.0, (self._now - self._ramp_start) / self.limits.ramp_time)
        return (1.0 - share) * self.limits.first_speed + share * self.limits.max_speed

    def _send(self, wanted: FloatArray, measured: FloatArray) -> Decision:
        """Go from the last targets toward the wanted ones, as far as the limits let it."""
        if self._targets is None:
            self._targets = measured
        last = self._targets
        goal, limited = self._goal(wanted, measured)
        within_joints = np.clip(wanted, self._low, self._high)
        outside, speed = self._outside(last), self._speed()
        returns = outside and not self._outside(within_joints)
        step = self._largest_step(self.limits.first_speed if outside else speed)
        change = goal - last
        limited += ["speed"] if np.abs(change).max() > step else []
        # The joints that move the TCP are slowed down together: slowing one bends the path.
        change[_BODY] *= min(1.0, step / max(step, 1e-12, float(np.abs(change[_BODY]).max())))
        change[_GRIPPER] = np.clip(change[_GRIPPER], -step, step)
        free = self._free_share(last, change, returns)
        limited += ["workspace"] if free < 1.0 else []
        change[_BODY] *= free
        self._targets, self._sent_at = last + change, self._now
        return Decision(Verdict.SEND, self._targets.copy(), limited=tuple(limited))

    def _goal(self, wanted: FloatArray, measured: FloatArray) -> tuple[FloatArray, list[str]]:
        """Return wanted targets within limits that do not depend on the last ones, and which."""
        goal = np.clip(wanted, self._low, self._high)
        limited = ["joints"] if (goal != wanted).any() else []
        if self._grip is not None and self._within_grip(goal[_GRIPPER]) != self._grip[0]:
            self._grip = None  # it is asked for less than it was loosened to
        gripper = self._within_grip(goal[_GRIPPER])
        limited += ["grip"] if gripper != goal[_GRIPPER] else []
        lead = self.limits.max_lead
        led = np.clip(np.clip(goal, measured - lead, measured + lead), self._low, self._high)
        limited += ["lead"] if (led[_BODY] != goal[_BODY]).any() else []
        led[_GRIPPER] = gripper
        return led, limited

    def _outside(self, joints: FloatArray) -> bool:
        return not _in_box(self._kinematics.forward(joints), self.limits)

    def _free_share(self, last: FloatArray, change: FloatArray, returns: bool) -> float:
        """Return how much of a change of targets keeps the TCP where it may be, from 0 to 1.

        Args:
            last: Where it starts, shape (6,) [rad].
            change: The whole of it, shape (6,) [rad].
            returns: Whether it starts outside of the box and leads to a target inside.
        """
        floor = min(
            self.limits.workspace.low[2] - self.limits.workspace_tolerance,
            self._kinematics.forward(last)[2],
        )
        samples = max(1, int(np.ceil(np.abs(change[_BODY]).max() / _WAY_RESOLUTION)))
        for sample in range(1, samples + 1):
            tcp = self._kinematics.forward(last + change * (sample / samples))
            if _in_box(tcp, self.limits):
                returns = False
            elif not returns or tcp[2] < floor:
                return (sample - 1) / samples
        return 1.0


def _in_box(tcp: FloatArray, limits: SafetyLimits) -> bool:
    box: Workspace = limits.workspace
    return bool(np.abs(tcp - clamp(tcp, box)).max() <= limits.workspace_tolerance)

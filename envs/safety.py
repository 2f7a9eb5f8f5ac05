"""Safety layer, which every command passes on its way to the bus."""

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
# Distance between checked points on the way between two targets [rad]; in between the TCP's arc
# rises less than 0.4 mm over its chord (0.45 m of reach, four joints that turn at once).
_WAY_RESOLUTION = 0.02


class Verdict(StrEnum):
    """Verdict of the safety layer on the arm."""

    SEND = "send"
    """Send the targets."""
    HOLD = "hold"
    """Stand still with torque: send the decision's targets, if any, and nothing else."""
    RELEASE = "release"
    """Switch the torque off."""


@dataclass(frozen=True)
class Decision:
    """Decision of the safety layer on a command.

    Attributes:
        verdict: Verdict on the arm.
        targets: Joint targets that may be sent, shape (6,) [rad]; None on release, and before the
            first reading.
        reason: Reason why the arm is held or released, with the joint at fault if there is one.
        limited: Limits that cut the targets short: "joints", "lead", "speed", "workspace", "grip".
    """

    verdict: Verdict
    targets: FloatArray | None
    reason: str = ""
    limited: tuple[str, ...] = ()


class SafetyLayer:
    """Safety layer that limits joint targets to what is safe, or holds or releases the arm.

    Every target that it returns is within the joint limits; within the workspace, the straight way
    of the joints from the previous target included; and no further from the previous target than
    the largest step and the largest speed allow. The first target after ``connect`` is where the
    arm is. An arm that is then outside of a limit (at rest it may be) only comes nearer to its
    joint limits, and moves, at ``first_speed`` and not below the box's floor, only on the way to
    targets inside the box.

    Holds because of a reading or a command end when the next one is sound; holds and releases
    because of temperature, voltage or load last until ``acknowledge``. Afterwards the arm starts
    slowly.

    Time is passed in from any monotonic clock [s], the same for commands and readings. Not
    thread-safe.

    Args:
        limits: Limits of the arm.

    Raises:
        ValueError: If the limits of a joint are no range within its full range.
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
        """Reason why the arm is held or released until ``acknowledge``, "" if none."""
        return "" if self._fault is None else self._fault[1]

    def connect(self) -> None:
        """Start again, after the arm was connected or its torque was off.

        The next command starts from where the arm is then.
        """
        self._targets: FloatArray | None = None
        self._sent_at = -np.inf
        self._grip: tuple[float, bool] | None = None  # bound of its target, and whether it closes
        self._commanded_at: float | None = None
        self.acknowledge()

    def handover(self) -> None:
        """Start slowly again, since the commands come from another source from now on."""
        self._ramp_start: float | None = None

    def acknowledge(self) -> None:
        """End a hold or a release because of temperature, voltage or load."""
        if self._fault is not None and self._fault[0] is Verdict.RELEASE:
            self._targets = None  # the arm fell from there
        self._fault = None
        self._faults.reset()
        self._stalled.reset()
        self.handover()

    def decide(self, wanted: ArrayLike, telemetry: ArmReading | None, now: float) -> Decision:
        """Return the decision on a command.

        Args:
            wanted: Joint targets, shape (6,) [rad].
            telemetry: Newest reading; None if there is none.
            now: Current time [s].

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
        """Return the decision while no command comes; call it as often as the arm is read.

        Args:
            telemetry: Newest reading; None if there is none.
            now: Current time [s].

        Returns:
            The last targets, or a hold or release.
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
        """Return the time since the last command [s]."""
        return np.inf if self._commanded_at is None else self._now - self._commanded_at

    def _checked(self, telemetry: ArmReading | None) -> Decision | None:
        """Return a hold or release because of a reading or a fault, None if there is none."""
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

        This happens in every state of the arm: a gripper burns out in a hold as well.
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
        """Return the largest speed allowed now [rad/s]; a ramp starts without motion."""
        if self._ramp_start is None:
            self._ramp_start = self._sent_at = self._now
        share = min(1.0, (self._now - self._ramp_start) / self.limits.ramp_time)
        return (1.0 - share) * self.limits.first_speed + share * self.limits.max_speed

    def _send(self, wanted: FloatArray, measured: FloatArray) -> Decision:
        """Move from the last targets toward the wanted ones, as far as the limits allow."""
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
        # The joints that move the TCP are slowed down together: slowing one would bend the path.
        change[_BODY] *= min(1.0, step / max(step, 1e-12, float(np.abs(change[_BODY]).max())))
        change[_GRIPPER] = np.clip(change[_GRIPPER], -step, step)
        free = self._free_share(last, change, returns)
        limited += ["workspace"] if free < 1.0 else []
        change[_BODY] *= free
        self._targets, self._sent_at = last + change, self._now
        return Decision(Verdict.SEND, self._targets.copy(), limited=tuple(limited))

    def _goal(self, wanted: FloatArray, measured: FloatArray) -> tuple[FloatArray, list[str]]:
        """Return targets within the limits that do not depend on the last ones, and which cut."""
        goal = np.clip(wanted, self._low, self._high)
        limited = ["joints"] if (goal != wanted).any() else []
        if self._grip is not None and self._within_grip(goal[_GRIPPER]) != self._grip[0]:
            self._grip = None  # the command asks for less force than the loosened grip has
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
        """Return the share of a change of targets that keeps the TCP in the box, from 0 to 1.

        Args:
            last: Start of the change, shape (6,) [rad].
            change: Whole change, shape (6,) [rad].
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

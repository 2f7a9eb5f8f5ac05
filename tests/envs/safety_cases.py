"""Readings and an obedient arm for tests of the safety layer."""

import numpy as np

from envs.kinematics import HOME, JOINTS, Kinematics
from envs.safety import ArmReading, SafetyLayer, SafetyLimits
from envs.workspace import clamp

KINEMATICS = Kinematics()
LOW, HIGH = KINEMATICS.joint_limits
PERIOD = 0.1
REST = np.array([0.0, -1.75, 1.69, 1.2, 0.0, 0.0])  # folded: 1 cm below the box's floor


def reading(time, positions=HOME, **others):
    values = {
        "velocities": np.zeros(6),
        "currents": np.zeros(6),
        "temperatures": np.full(6, 35.0),
        "voltages": np.full(6, 7.4),
        "loads": np.zeros(6),
    }
    return ArmReading(time, positions, **{**values, **others})


def at(joint, value, rest):
    values = np.full(6, float(rest))
    values[JOINTS.index(joint)] = value
    return values


def moved(joints, **by):
    """Return joint angles of which some are changed by given amounts."""
    return joints + [by.get(joint, 0.0) for joint in JOINTS]


class Arm:
    """Safety layer under test, with an arm that is always where it was sent."""

    def __init__(self, positions=HOME, **limits):
        self.layer = SafetyLayer(SafetyLimits(**limits))
        self.positions = np.array(positions, dtype=float)
        self.now = 100.0
        self.last = None

    def decide(self, wanted, after=PERIOD, **readings):
        self.now += after
        return self._take(
            self.layer.decide(wanted, reading(self.now, self.positions, **readings), self.now)
        )

    def watch(self, after=PERIOD, **readings):
        self.now += after
        return self._take(self.layer.watch(reading(self.now, self.positions, **readings), self.now))

    def settle(self, wanted=HOME, steps=30):
        for _ in range(steps):
            decision = self.decide(wanted)
        return decision

    def _take(self, decision):
        if decision.targets is not None:
            self.positions = self.last = decision.targets
        return decision


def excess(joints, box):
    """Return the distance of the TCP outside of the box, by axis [m]."""
    tcp = KINEMATICS.forward(joints)
    return float(np.abs(tcp - clamp(tcp, box)).max())


def grip(layer, steps, start, current, measured=0.2, wanted=0.0, decide=True):
    """Close on an object that is 0.2 rad wide, and return the gripper's targets."""
    targets = []
    positions = np.array([*HOME[:5], measured])
    for step in range(steps):
        now = start + step * PERIOD
        telemetry = reading(now, positions, currents=at("gripper", current, 0))
        wish = np.array([*HOME[:5], wanted])
        decision = layer.decide(wish, telemetry, now) if decide else layer.watch(telemetry, now)
        targets.append(decision.targets[-1])
    return targets

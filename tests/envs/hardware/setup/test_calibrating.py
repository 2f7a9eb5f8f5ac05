"""Calibration of virtual servos that a hand moves."""

import numpy as np
import pytest

from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.setup.calibrating import Calibrating
from envs.hardware.setup.calibration import CalibrationError
from envs.kinematics import JOINTS, Kinematics
from envs.virtual.plant import KinematicPlant
from envs.virtual.virtual_port import VirtualPort

pytestmark = pytest.mark.realtime

LOW, HIGH = Kinematics().joint_limits
TRAVEL = dict(zip(JOINTS, (HIGH - LOW).tolist(), strict=True))
IDS = {name: place + 1 for place, name in enumerate(JOINTS)}
TICK = 2 * np.pi / 4096


def sweep(
    procedure: Calibrating, port: VirtualPort, plant: KinematicPlant, centre: float, travel: float
) -> None:
    """Move all joints at once from end to end around a centre, and back to it [rad]."""
    half = travel / 2
    for angle in (*np.linspace(-half, half, 60), *np.linspace(half, 0, 30)):

        def move(to: float = centre + angle) -> None:
            for place in range(6):
                plant.move(place, to)
            for servo, state in zip(port.chain.servos, map(plant.state, range(6)), strict=True):
                servo.advance(0.0, 0.0, state)

        port.call(move)
        procedure.step()


@pytest.mark.parametrize("centre", [0.0, 3.0, -3.13, 1.5])
@pytest.mark.parametrize("offset", [0, 2047, -2047])
def test_the_range_is_found_wherever_the_encoder_wraps(
    bus: FeetechBus, port: VirtualPort, plant: KinematicPlant, centre: float, offset: int
) -> None:
    for servo in port.chain.servos:
        servo.set("Homing_Offset", offset)
    procedure = Calibrating(bus, IDS, TRAVEL)
    memory = [bytes(servo._memory[:40]) for servo in port.chain.servos]
    sweep(procedure, port, plant, centre, 3.4)
    motors = procedure.finish()
    middle = round(2047 + centre / TICK)
    for name in JOINTS:
        off = (middle - motors[name].homing_offset - 2047 + 2048) % 4096 - 2048
        assert abs(off) <= 30, name  # two readings of the sweep are 38 ticks apart
        if name != "wrist_roll":
            found = motors[name].range_max - motors[name].range_min
            assert abs(found - 3.4 / TICK) <= 45
    assert [bytes(servo._memory[:40]) for servo in port.chain.servos] == memory


def test_a_sweep_too_small_names_the_joints(
    bus: FeetechBus, port: VirtualPort, plant: KinematicPlant
) -> None:
    procedure = Calibrating(bus, IDS, TRAVEL)
    sweep(procedure, port, plant, 0.0, 0.5)
    assert not any(each.enough for each in procedure.progress().values())
    with pytest.raises(CalibrationError, match="not moved far enough: shoulder_pan"):
        procedure.finish()


def test_lost_packets_and_a_wild_reading_are_ignored(
    bus: FeetechBus, port: VirtualPort, plant: KinematicPlant
) -> None:
    procedure = Calibrating(bus, IDS, TRAVEL)
    for angle in (0.0, 0.0, 1.5, 0.0, 0.0):

        def move(to: float = angle) -> None:
            plant.move(0, to)
            port.chain.servos[0].advance(0.0, 0.0, plant.state(0))

        port.call(move)
        procedure.step()
    assert procedure.progress()["shoulder_pan"].travel == 0
    port.call(lambda: port.chain.servos[3].set("ID", 44))
    procedure.step()
    assert procedure.lost == 1

"""Virtual SO101: two calibrated arms on serial ports in real time, without leftovers."""

import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import PortLostError
from envs.hardware.setup.calibration import read_calibration
from envs.kinematics import JOINTS, Kinematics
from envs.virtual.mujoco_plant import REST
from envs.virtual.plant import Drive, KinematicPlant
from envs.virtual.virtual_so101 import PacedPlant, VirtualArm, VirtualFolderError, VirtualSO101
from tests.patience import MARGIN, stretched, wait_until

pytestmark = pytest.mark.realtime

IDS = tuple(range(1, 7))


@pytest.fixture
def so101(tmp_path: Path) -> Iterator[VirtualSO101]:
    with VirtualSO101(tmp_path / "arms") as so101:
        yield so101


def open_bus(arm: VirtualArm) -> FeetechBus:
    return FeetechBus(str(arm.link), margin=MARGIN)


def angles(bus: FeetechBus, arm: VirtualArm) -> np.ndarray:
    positions = bus.sync_read("Present_Position", IDS)
    return arm.calibration.to_radians([positions[i] for i in IDS])


def test_both_arms_are_calibrated_as_in_their_files(so101: VirtualSO101) -> None:
    limits = Kinematics().joint_limits
    for arm in (so101.follower, so101.leader):
        calibration = read_calibration(arm.calibration_file, limits)
        np.testing.assert_allclose(
            calibration.to_radians([2047] * 6), np.zeros(6), atol=0.001, err_msg="2047 is zero"
        )
        with open_bus(arm) as bus:
            for name, motor in calibration.motors.items():
                assert bus.read(motor.id, "Homing_Offset") == motor.homing_offset, name
                assert bus.read(motor.id, "Min_Position_Limit") == motor.range_min
                assert bus.read(motor.id, "Max_Position_Limit") == motor.range_max
            np.testing.assert_allclose(angles(bus, arm), REST, atol=0.02)
            assert not any(bus.sync_read("Torque_Enable", IDS).values())
    with open_bus(so101.follower) as follower, open_bus(so101.leader) as leader:
        assert follower.read(6, "Max_Torque_Limit") == 500
        assert leader.read(6, "Max_Torque_Limit") == 1000


def test_the_follower_reaches_its_goals_and_the_leader_stays(so101: VirtualSO101) -> None:
    arm = so101.follower
    target = np.array([0.3, -1.2, 1.2, 0.9, -0.4, 0.5])
    with open_bus(arm) as bus, open_bus(so101.leader) as leader:
        before = angles(leader, so101.leader)
        goals = dict(zip(IDS, arm.calibration.to_ticks(target).tolist(), strict=True))
        bus.sync_write("Goal_Position", goals)
        bus.sync_write("Torque_Enable", dict.fromkeys(IDS, 1))
        wait_until(lambda: np.abs(angles(bus, arm) - target).max() < 0.01, 5.0)
        time.sleep(0.3)
        currents = bus.read_telemetry(IDS).currents
        assert 0.05 < np.abs(currents).max() < 1.5, "the weight needs some current"
        np.testing.assert_allclose(angles(leader, so101.leader), before, atol=0.01)
        bus.sync_write("Torque_Enable", dict.fromkeys(IDS, 0))
        wait_until(lambda: np.abs(angles(bus, arm) - target).max() > 0.1, 5.0, "it sinks")


def test_a_hand_moves_the_limp_leader(so101: VirtualSO101) -> None:
    so101.leader.hold("shoulder_pan", 0.5)
    with open_bus(so101.leader) as bus:
        wait_until(lambda: abs(angles(bus, so101.leader)[0] - 0.5) < 0.01, 5.0)
        so101.leader.release("shoulder_pan")
        so101.leader.hold("shoulder_pan", 0.0)
        wait_until(lambda: abs(angles(bus, so101.leader)[0]) < 0.01, 5.0)
    with pytest.raises(ValueError):
        so101.leader.hold("tail", 0.0)


def test_a_gripper_that_closes_on_a_blocking_hand_overloads(so101: VirtualSO101) -> None:
    arm, gripper = so101.follower, JOINTS.index("gripper")
    arm.hold("gripper", 0.5)
    with open_bus(arm) as bus:
        wait_until(lambda: abs(angles(bus, arm)[gripper] - 0.5) < 0.01, 5.0)
        bus.write(6, "Goal_Position", arm.calibration.motors["gripper"].range_min)
        bus.write(6, "Torque_Enable", 1)
        wait_until(lambda: bus.read_telemetry([6]).loads[0] == pytest.approx(-0.5, abs=0.01), 5.0)
        wait_until(lambda: bus.read_telemetry([6]).faults == (("overload",),), 5.0)
        wait_until(lambda: bus.read_telemetry([6]).loads[0] > -0.21, 5.0, "Protective_Torque")


def test_the_arms_run_in_real_time(so101: VirtualSO101) -> None:
    pace = so101.follower.pace
    start, before = time.monotonic(), so101.follower.port.call(lambda: pace.simulated)
    time.sleep(0.5)
    passed = so101.follower.port.call(lambda: pace.simulated) - before
    assert passed == pytest.approx(time.monotonic() - start, abs=stretched(0.1))
    assert pace.steps > 20


def test_steps_of_a_slow_plant_count_as_overruns() -> None:
    times = iter([10.0, 10.005, 10.01, 10.04, 11.0, 11.001])
    paced = PacedPlant(KinematicPlant([0.0]), clock=lambda: next(times))
    orders = {0: Drive(1.0, 1.0, 4.7)}
    paced.step(0.01, orders)
    assert (paced.overruns, paced.behind) == (0, pytest.approx(0.0))
    paced.step(0.01, orders)  # took 30 ms
    assert (paced.steps, paced.overruns, paced.behind) == (2, 1, pytest.approx(0.0))
    paced.step(0.25, orders)  # the servos had to wait for 0.99 s, and skip most of it
    assert (paced.overruns, paced.behind) == (1, pytest.approx(0.74))
    assert paced.simulated == pytest.approx(0.27)
    assert paced.state(0).position > 0.5


def test_check_raises_for_a_failed_arm(so101: VirtualSO101) -> None:
    so101.check()

    def explode(*_: object) -> None:
        raise RuntimeError("the simulation became unstable")

    so101.leader.port.call(lambda: setattr(so101.leader.plant, "step", explode))
    wait_until(lambda: not Path(so101.leader.port.path).exists(), 5.0)
    with pytest.raises(RuntimeError, match="servos behind"):
        so101.check()


def test_close_removes_everything(tmp_path: Path) -> None:
    threads = threading.active_count()
    so101 = VirtualSO101(tmp_path / "arms")
    links = [so101.follower.link, so101.leader.link]
    assert sorted(path.name for path in (tmp_path / "arms").iterdir()) == [
        "follower", "follower.json", "leader", "leader.json", "pedal",
    ]  # fmt: skip
    so101.close()
    so101.close()
    assert not (tmp_path / "arms").exists()
    assert threading.active_count() == threads
    with pytest.raises(PortLostError):
        FeetechBus(str(links[0]))


def test_close_keeps_other_files_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    VirtualSO101(tmp_path).close()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_links_of_a_killed_process_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "follower").symlink_to("/nowhere/at/all")
    with VirtualSO101(tmp_path) as so101:
        (tmp_path / "kept.json").write_bytes(so101.leader.calibration_file.read_bytes())
    (tmp_path / "kept.json").rename(tmp_path / "leader.json")
    with VirtualSO101(tmp_path) as so101, open_bus(so101.follower) as bus:
        assert bus.ping(1) == 777


def test_links_and_files_of_others_are_refused(tmp_path: Path, so101: VirtualSO101) -> None:
    with pytest.raises(VirtualFolderError, match="another virtual SO101"):
        VirtualSO101(so101.follower.link.parent)
    with open_bus(so101.follower) as bus:
        assert bus.ping(1) == 777
    (tmp_path / "leader.json").write_text('{"of": "a real arm"}')
    with pytest.raises(VirtualFolderError, match=r"leader\.json is not the virtual"):
        VirtualSO101(tmp_path)
    assert (tmp_path / "leader.json").read_text() == '{"of": "a real arm"}'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arms", "leader.json"]


def first_picture(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=10) as stream:
        received = b""
        while b"\xff\xd9" not in received:
            received += stream.read1(65536)
    return received[received.index(b"\xff\xd8") : received.index(b"\xff\xd9") + 2]


def test_the_cameras_see_the_follower_move(tmp_path: Path) -> None:
    try:
        so101 = VirtualSO101(tmp_path / "arms", cameras=True)
    except RuntimeError as error:
        assert "OpenGL" in str(error) and not (tmp_path / "arms").exists()
        pytest.skip("no off-screen OpenGL on this machine")
    with so101:
        assert so101.cameras is not None and sorted(so101.cameras.urls) == ["front", "wrist"]
        url = so101.cameras.urls["front"]
        before = first_picture(url)
        so101.follower.hold("shoulder_pan", 0.6)
        wait_until(lambda: abs(so101.follower.plant.state(0).position - 0.6) < 0.01, 5.0)
        after = first_picture(url)
        assert first_picture(so101.cameras.urls["wrist"]) not in (before, after)
        assert difference(before, after) > 3.0 > difference(after, first_picture(url))
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=2)


def difference(one: bytes, other: bytes) -> float:
    from io import BytesIO

    from PIL import Image

    pictures = [np.asarray(Image.open(BytesIO(data)), np.float64) for data in (one, other)]
    return float(np.abs(pictures[0] - pictures[1]).mean())

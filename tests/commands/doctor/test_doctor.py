"""The doctor, on a virtual arm that has one fault after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from e2hil_rllib.commands.cli.app import app
from e2hil_rllib.commands.doctor import arm as doctor_arm
from e2hil_rllib.commands.doctor import missing
from e2hil_rllib.commands.doctor.arm import examine
from e2hil_rllib.commands.doctor.findings import Finding, Level
from envs.hardware.bus.registers import REGISTERS
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import NoAnswerError
from envs.hardware.setup.calibration import Calibration, MotorCalibration
from envs.kinematics import Kinematics
from envs.virtual.line_faults import FaultRates
from envs.virtual.virtual_servo import VirtualServo
from envs.virtual.virtual_so101 import VirtualArm, VirtualSO101

pytestmark = pytest.mark.realtime

SHORT = 0.1  # s
BUSY = 5
"""How often a line is measured at most: other work may take the processor meanwhile."""


@pytest.fixture(scope="module")
def so101(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualSO101]:
    with VirtualSO101(tmp_path_factory.mktemp("virtual")) as so101:
        yield so101


@pytest.fixture
def arm(so101: VirtualSO101) -> Iterator[VirtualArm]:
    """The follower, as it was before when the test ends."""
    arm = so101.follower
    servos = arm.port.chain.servos
    before = arm.port.call(lambda: [bytes(servo._memory) for servo in servos])
    yield arm

    def restore() -> None:
        for servo, memory in zip(servos, before, strict=True):
            servo._memory[:] = memory
            servo.injected_error = 0

    arm.port.plug()
    arm.port.disturb(FaultRates())
    arm.port.call(restore)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servos may wait for a core, and nothing counts as lost because of that."""
    monkeypatch.setattr(
        doctor_arm, "FeetechBus", lambda port, retries: FeetechBus(port, retries=0, margin=0.6)
    )


@pytest.fixture
def as_shipped(patience: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """As impatient as the program is."""
    monkeypatch.setattr(doctor_arm, "FeetechBus", FeetechBus)


def change(arm: VirtualArm, servo_id: int, how: Callable[[VirtualServo], None]) -> None:
    arm.port.call(lambda: how(arm.port.chain.servo(servo_id)))


def doctor(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)], env={"COLUMNS": "250"})


def check(arm: VirtualArm, seconds: float = SHORT) -> list[Finding]:
    return examine(str(arm.link), arm.calibration_file, seconds)


def amiss(findings: list[Finding]) -> list[Finding]:
    """What is not fine, but for a line that a busy machine slows down."""
    return [f for f in findings if f.level is not Level.OK and "readings/s" not in f.what]


@pytest.mark.usefixtures("as_shipped")
def test_a_healthy_arm_is_well(arm: VirtualArm) -> None:
    for _ in range(BUSY):
        result = doctor("--port", arm.link, "--calibration", arm.calibration_file)
        if result.exit_code == 0:
            break
    assert result.exit_code == 0, result.output
    for words in (
        "motor 1 shoulder_pan",
        "motor 6 gripper",
        "12.0 V, 30 °C, position 2047",
        "line",
    ):
        assert words in result.output
    assert "fault" not in result.output and "firmware 3.10" in result.output


def test_it_changes_nothing_and_moves_nothing(arm: VirtualArm) -> None:
    writable = [name for name, register in REGISTERS.items() if not register.read_only]

    def registers() -> list[int]:
        return [servo.get(name) for servo in arm.port.chain.servos for name in writable]

    change(arm, 2, lambda servo: servo.set("Torque_Enable", 1))
    before = arm.port.call(registers)
    goals = arm.port.call(lambda: len(arm.port.chain.goals))
    findings = check(arm)
    assert arm.port.call(registers) == before
    assert arm.port.call(lambda: len(arm.port.chain.goals)) == goals
    assert [(f.where, f.level, f.what) for f in amiss(findings)] == [
        ("motor 2 shoulder_lift", Level.NOTE, "is under torque")
    ]


@pytest.mark.usefixtures("as_shipped")
def test_the_line_is_measured(arm: VirtualArm) -> None:
    for _ in range(BUSY):
        line = check(arm, seconds=0.4)[-1]
        if line.level is Level.OK:
            break
    assert line.where == "line" and line.level is Level.OK
    assert int(line.what.split()[0]) > 60 and "0 damaged" in line.what


@pytest.mark.usefixtures("as_shipped")
def test_a_missing_motor_is_named(arm: VirtualArm) -> None:
    change(arm, 3, lambda servo: servo.set("ID", 33))
    result = doctor("--port", arm.link, "--calibration", arm.calibration_file)
    assert result.exit_code == 1
    (row,) = [line for line in result.output.splitlines() if "motor 3 elbow_flex" in line]
    assert "does not answer" in row and "three-wire cable" in row
    assert "motor 4 wrist_flex" in result.output and "readings/s" in result.output


@pytest.mark.parametrize(
    ("servo_id", "register", "value", "level", "what", "step"),
    [
        (5, "Present_Temperature", 75, Level.FAULT, "75 °C, at most 70", "cool down"),
        (5, "Present_Temperature", 62, Level.NOTE, "62 °C, stops at 70", "cool down"),
        (1, "Present_Voltage", 30, Level.FAULT, "3.0 V, expected 4.0 to 14.0 V", "power supply"),
        (1, "Present_Voltage", 150, Level.FAULT, "15.0 V, expected", "power supply"),
        (4, "Homing_Offset", 100, Level.FAULT, "is 100, the calibration file says 0", "calibrate"),
        (4, "Min_Position_Limit", 0, Level.FAULT, "Min_Position_Limit is 0, the", "calibrate"),
        (4, "Max_Position_Limit", 4000, Level.FAULT, "Max_Position_Limit is 4000", "calibrate"),
        (2, "Model_Number", 1, Level.FAULT, "is a model 1, expected an STS3215", "arm's port"),
        (6, "Phase", 12 | 0x20, Level.NOTE, "has no current feedback", "reads 0 A"),
        (6, "Phase", 12 | 0x10, Level.NOTE, "counts several turns", "one turn"),
    ],
)
def test_each_fault_comes_with_its_motor_and_a_step(
    arm: VirtualArm,
    servo_id: int,
    register: str,
    value: int,
    level: Level,
    what: str,
    step: str,
) -> None:
    change(arm, servo_id, lambda servo: servo.set(register, value))
    (finding,) = amiss(check(arm))
    assert finding.where.startswith(f"motor {servo_id} ") and finding.level is level
    assert what in finding.what and step in finding.step


def test_what_a_motor_reports_is_named(arm: VirtualArm) -> None:
    change(arm, 2, lambda servo: setattr(servo, "injected_error", 2 | 32))
    findings = amiss(check(arm))
    assert [f.what for f in findings] == ["reports angle sensor", "reports overload"]
    assert all(f.level is Level.FAULT and f.step and "motor 2" in f.where for f in findings)


@pytest.mark.usefixtures("as_shipped")
def test_lost_and_damaged_packets_are_a_fault_of_the_line(arm: VirtualArm) -> None:
    for rates, nothing in (
        (FaultRates(lost=0.08), " 0 lost"),
        (FaultRates(corrupted=0.08), " 0 damaged"),
    ):
        arm.port.disturb(rates)
        for _ in range(BUSY):
            line = check(arm, seconds=0.5)[-1]
            if nothing not in line.what:
                break
        assert line.where == "line" and line.level is Level.FAULT
        assert nothing not in line.what
        assert "three-wire cables" in line.step
    arm.port.disturb(FaultRates(lost=0.05))
    assert doctor("--port", arm.link).exit_code == 1


def test_a_slow_line_is_a_fault(arm: VirtualArm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VirtualServo, "return_delay", property(lambda servo: 0.003))
    for _ in range(BUSY):
        line = check(arm, seconds=0.4)[-1]
        if " 0 lost" in line.what:
            break
    assert line.level is Level.FAULT and "at least 60 are needed" in line.step


@pytest.mark.usefixtures("as_shipped")
def test_without_power_no_motor_answers(arm: VirtualArm) -> None:
    arm.port.disturb(FaultRates(lost=1.0))
    (finding,) = amiss(check(arm))
    assert finding.what == "none of 6 motors answers" and "power supply" in finding.step


@pytest.mark.usefixtures("as_shipped")
def test_a_motor_with_another_id_is_found(arm: VirtualArm) -> None:
    for servo_id in range(1, 7):
        change(arm, servo_id, lambda servo: servo.set("ID", servo.servo_id + 100))
    *absent, stranger = amiss(check(arm))
    assert [f.what for f in absent] == ["does not answer"] * 6
    assert "101, 102, 103, 104, 105, 106" in stranger.what and "id of its joint" in stranger.step


def test_a_motor_at_another_rate_is_found(arm: VirtualArm, monkeypatch: pytest.MonkeyPatch) -> None:
    class HalfAsFast(FeetechBus):
        """A pseudo-terminal has no rate: here motor 4, which has another id, answers at one."""

        def ping(self, servo_id: int) -> int:
            if servo_id != 4 or self._line.baudrate != 500_000:
                raise NoAnswerError(self.port, (servo_id,), "PING", 1)
            return super().ping(44)

    monkeypatch.setattr(missing, "FeetechBus", HalfAsFast)
    change(arm, 4, lambda servo: servo.set("ID", 44))
    finding = amiss(check(arm))[0]
    assert finding.where == "motor 4 wrist_flex" and finding.level is Level.FAULT
    assert finding.what == "answers at 500000 baud, expected 1000000"
    assert "Baud_Rate to 0" in finding.step


@pytest.mark.parametrize(
    ("limits", "level", "what"),
    [
        ((0, 0), Level.NOTE, "has no position limits"),
        ((3000, 1000), Level.FAULT, "wrong way round"),
        ((2000, 2200), Level.FAULT, "may move by 17.6° only"),
        ((0, 4095), Level.NOTE, "a whole turn, as from the factory"),
        ((1000, 3000), None, ""),
    ],
)
def test_limits_are_judged_without_a_file(
    arm: VirtualArm, limits: tuple[int, int], level: Level | None, what: str
) -> None:
    change(arm, 2, lambda servo: servo.set("Min_Position_Limit", limits[0]))
    change(arm, 2, lambda servo: servo.set("Max_Position_Limit", limits[1]))
    found = amiss(examine(str(arm.link), None, SHORT))[1:]
    assert [(f.where, f.level) for f in found] == (
        [("motor 2 shoulder_lift", level)] if level else []
    )
    assert all(what in f.what and "e2hil calibrate" in f.step for f in found)


def test_limits_that_the_file_shares_are_judged_and_others_compared_only(
    arm: VirtualArm, tmp_path: Path
) -> None:
    change(arm, 2, lambda servo: servo.set("Min_Position_Limit", 2000))
    change(arm, 2, lambda servo: servo.set("Max_Position_Limit", 2200))
    assert [f.what.split(" is ")[0] for f in amiss(check(arm))] == [
        "Min_Position_Limit",
        "Max_Position_Limit",
    ]
    motors = arm.calibration.motors | {"shoulder_lift": MotorCalibration(2, 0, 0, 2000, 2200)}
    Calibration(motors, Kinematics().joint_limits).save(tmp_path / "tiny.json")
    (finding,) = amiss(examine(str(arm.link), tmp_path / "tiny.json", SHORT))
    assert finding.level is Level.FAULT and "17.6° only" in finding.what


def test_what_a_return_delay_costs_is_said_once(arm: VirtualArm) -> None:
    for servo_id in (1, 2, 5):
        change(arm, servo_id, lambda servo: servo.set("Return_Delay_Time", 250))
    (finding,) = amiss(check(arm))
    assert finding.where == "motors" and finding.level is Level.NOTE
    assert "Return_Delay_Time is 250 in motors 1, 2, 5" in finding.what
    assert "1.5 ms longer, 4% of a step at 30 Hz" in finding.what  # 3 * 250 * 2 µs
    assert "sets it to 0" in finding.step


def test_different_firmware_is_noted(arm: VirtualArm) -> None:
    change(arm, 5, lambda servo: servo.set("Firmware_Minor_Version", 9))
    (finding,) = amiss(check(arm))
    assert finding.level is Level.NOTE
    assert "3.10 in motors 1, 2, 3, 4, 6; 3.9 in motor 5" in finding.what


def test_a_rate_that_the_next_start_brings_is_a_fault(arm: VirtualArm) -> None:
    change(arm, 3, lambda servo: servo.set("Baud_Rate", 4))
    (finding,) = amiss(check(arm))
    assert finding.level is Level.FAULT and "motor 3 holds Baud_Rate 4" in finding.what
    assert "115200 baud" in finding.what


def test_a_gripper_that_may_burn_out_is_noted(so101: VirtualSO101, arm: VirtualArm) -> None:
    change(arm, 6, lambda servo: servo.set("Overload_Torque", 80))
    change(arm, 5, lambda servo: servo.set("Protection_Current", 500))  # no gripper
    (finding,) = amiss(check(arm))
    assert finding.where == "motor 6 gripper" and finding.level is Level.NOTE
    assert finding.what.endswith(": Overload_Torque 80") and "sets 25" in finding.step
    (finding,) = amiss(check(so101.leader))
    assert "Max_Torque_Limit 1000, Protection_Current 500, Overload_Torque 80" in finding.what
    assert "of a leader, nothing" in finding.step


def test_a_calibration_is_asked_for_and_a_bad_one_named(arm: VirtualArm, tmp_path: Path) -> None:
    (finding,) = amiss(examine(str(arm.link), None, SHORT))
    assert finding.level is Level.NOTE and "--calibration" in finding.step
    (finding,) = amiss(examine(str(arm.link), tmp_path / "none.json", SHORT))
    assert finding.level is Level.FAULT and str(tmp_path / "none.json") in finding.what
    assert doctor("--port", arm.link, "--calibration", tmp_path / "none.json").exit_code == 1


def test_a_port_that_is_not_there_is_named(arm: VirtualArm) -> None:
    arm.port.unplug()
    result = doctor("--port", arm.link)
    assert result.exit_code == 1
    assert f"port {arm.link} is lost" in result.output and "lists the ports" in result.output
